"""A collector of spans, by OpenTelemetry's published definitions."""

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service
from serving import serve, tell


class Collector(service.TraceServiceServicer):
    def Export(self, request, context):
        tell("Export", request)
        return messages.ExportTraceServiceResponse()


serve((service.add_TraceServiceServicer_to_server, Collector()))
