// Answers carry `hello: <configuration>`, or `hello: world!` without one.
export * from "@gcoredev/proxy-wasm-sdk-as/assembly/proxy";
import {
  Context,
  FilterHeadersStatusValues,
  registerRootContext,
  RootContext,
  stream_context,
} from "@gcoredev/proxy-wasm-sdk-as/assembly";

class HelloRoot extends RootContext {
  createContext(id: u32): Context {
    return new Hello(id, this);
  }
}

class Hello extends Context {
  onResponseHeaders(count: u32, end: bool): FilterHeadersStatusValues {
    const configured = this.root_context.getConfiguration();
    stream_context.headers.response.add("hello", configured == "" ? "world!" : configured);
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext((id: u32) => new HelloRoot(id), "hello");
