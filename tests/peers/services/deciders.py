"""Services that decide for Envoy, by its published definitions: of rate limits, and of authorization."""

from collections import Counter

import grpc
from envoy.config.core.v3.base_pb2 import HeaderValue
from envoy.service.auth.v3 import external_auth_pb2 as auth
from envoy.service.auth.v3 import external_auth_pb2_grpc as auth_service
from envoy.service.ratelimit.v3 import rls_pb2 as limits
from envoy.service.ratelimit.v3 import rls_pb2_grpc as limits_service
from serving import serve, tell

# How many requests of each description pass.
LIMIT = 2


class Limits(limits_service.RateLimitServiceServicer):
    def __init__(self):
        self.seen = Counter()

    def ShouldRateLimit(self, request, context):
        tell("ShouldRateLimit", request)
        response = limits.RateLimitResponse(overall_code=limits.RateLimitResponse.OK)
        for descriptor in request.descriptors:
            key = descriptor.SerializeToString()
            self.seen[key] += 1
            left = LIMIT - self.seen[key]
            status = response.statuses.add(limit_remaining=max(left, 0))
            status.code = limits.RateLimitResponse.OK if left >= 0 else limits.RateLimitResponse.OVER_LIMIT
            status.current_limit.requests_per_unit = LIMIT
            status.current_limit.unit = limits.RateLimitResponse.RateLimit.MINUTE
            status.duration_until_reset.seconds = 60
            if left < 0:
                response.overall_code = limits.RateLimitResponse.OVER_LIMIT
        response.request_headers_to_add.add(key="x-for-app", value="yes")
        response.response_headers_to_add.add(key="x-for-client", value="yes")
        return response


class Authorization(auth_service.AuthorizationServicer):
    """Lets `ann` pass."""

    def Check(self, request, context):
        tell("Check", request)
        response = auth.CheckResponse()
        if request.attributes.request.http.headers.get("authorization") == "ann":
            passed = response.ok_response
            passed.headers.add().header.MergeFrom(HeaderValue(key="x-user", value="ann"))
            passed.headers_to_remove.append("x-old")
            passed.response_headers_to_add.add().header.MergeFrom(HeaderValue(key="set-cookie", value="s=1"))
        else:
            response.status.code = grpc.StatusCode.UNAUTHENTICATED.value[0]
            denied = response.denied_response
            denied.status.code = 401
            denied.headers.add().header.MergeFrom(HeaderValue(key="www-authenticate", value="Bearer"))
            denied.body = "who?"
        return response


serve(
    (limits_service.add_RateLimitServiceServicer_to_server, Limits()),
    (auth_service.add_AuthorizationServicer_to_server, Authorization()),
)
