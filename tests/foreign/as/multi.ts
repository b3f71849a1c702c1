// One filter that uses much of the ABI: properties, both bodies, a reply of its own, a log line.
export * from "@gcoredev/proxy-wasm-sdk-as/assembly/proxy";
import {
  BufferTypeValues,
  Context,
  FilterDataStatusValues,
  FilterHeadersStatusValues,
  get_buffer_bytes,
  get_property,
  GrpcStatusValues,
  log,
  LogLevelValues,
  makeHeaderPair,
  registerRootContext,
  RootContext,
  send_local_response,
  set_buffer_bytes,
  set_property,
  stream_context,
} from "@gcoredev/proxy-wasm-sdk-as/assembly";

class MultiRoot extends RootContext {
  createContext(id: u32): Context {
    return new Multi(id, this);
  }
}

class Multi extends Context {
  onRequestHeaders(count: u32, end: bool): FilterHeadersStatusValues {
    if (stream_context.headers.request.get(":path") == "/deny") {
      const headers = [makeHeaderPair("x-as", "1"), makeHeaderPair("x-as", "2")];
      send_local_response(451, "as denied", String.UTF8.encode("denied by as\n"), headers, GrpcStatusValues.Unknown);
      return FilterHeadersStatusValues.StopIteration;
    }
    stream_context.headers.request.add("x-as-method", String.UTF8.decode(get_property("request\0method")));
    set_property("as_multi", String.UTF8.encode("pv"));
    return FilterHeadersStatusValues.Continue;
  }

  onRequestBody(size: usize, end: bool): FilterDataStatusValues {
    if (!end) return FilterDataStatusValues.StopIterationAndBuffer;
    const body = get_buffer_bytes(BufferTypeValues.HttpRequestBody, 0, size as u32);
    log(LogLevelValues.info, "body " + String.UTF8.decode(body));
    return FilterDataStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end: bool): FilterHeadersStatusValues {
    stream_context.headers.response.remove("content-length");
    stream_context.headers.response.add("x-as-prop", String.UTF8.decode(get_property("as_multi")));
    stream_context.headers.response.add("x-as-count", count.toString());
    return FilterHeadersStatusValues.Continue;
  }

  onResponseBody(size: usize, end: bool): FilterDataStatusValues {
    if (!end) return FilterDataStatusValues.StopIterationAndBuffer;
    const body = String.UTF8.encode("AS body (" + size.toString() + ")\n");
    set_buffer_bytes(BufferTypeValues.HttpResponseBody, 0, size as u32, body);
    return FilterDataStatusValues.Continue;
  }
}

registerRootContext((id: u32) => new MultiRoot(id), "multi");
