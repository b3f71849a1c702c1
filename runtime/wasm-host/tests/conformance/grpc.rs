//! gRPC callouts are not offered; the codes are those that SDKs hand on instead of trapping.

use crate::guest::in_tick;

#[test]
fn every_service_is_unknown() {
    let said = in_tick(
        "(call $say (call $proxy_grpc_call 'svc' 's' 'm' '' '' #0 #24))
         (call $say (call $proxy_grpc_stream 'svc' 's' 'm' '' #24))
         (call $say (call $proxy_grpc_call #-1 #1 's' 'm' '' '' #0 #24))",
    );
    assert_eq!(said, ["4", "4", "6"]);
}

#[test]
fn ids_of_the_wrong_kind_and_unknown_ones() {
    let said = in_tick(
        "(call $say (call $proxy_grpc_send #6 '' #0)) (call $say (call $proxy_grpc_send #5 '' #0))
         (call $say (call $proxy_grpc_cancel #5)) (call $say (call $proxy_grpc_cancel #6)) (call $say (call $proxy_grpc_cancel #4))
         (call $say (call $proxy_grpc_close #5)) (call $say (call $proxy_grpc_close #6)) (call $say (call $proxy_grpc_close #4))",
    );
    assert_eq!(said, ["1", "2", "1", "1", "2", "1", "1", "2"]);
}
