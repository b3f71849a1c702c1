"""Runs services by gRPC's own library until stdin ends. Prints the port, then for every call one line of JSON: the
method, and the message as protobuf's own mapping has it."""

import json
import sys
from concurrent import futures

import grpc
from google.protobuf.json_format import MessageToDict


def tell(method, message):
    print(json.dumps({"method": method, "message": MessageToDict(message)}), flush=True)


def serve(*services):
    """Each of them is the generated function that adds a service, and the service."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    for add, service in services:
        add(service, server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
