//! Bytes to checked, compiled code: ABI version, imports, exports, hooks worth calling.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmparser::{BinaryReader, ElementItems, ExternalKind, Name, NameSectionReader, Parser, Payload, TypeRef};
use wasmtime::{ExternType, FuncType, InstancePre};

use crate::abi::AbiVersion;
use crate::engine::Engine;
use crate::fault::{cut, harmless};
use crate::hooks::Hook;
use crate::host::Host;
use crate::limits;
use crate::native::Trusted;
use crate::state::State;
use crate::trivial::{self, Trivial};

/// What every module begins with.
const MAGIC: &[u8] = b"\0asm";

/// Why bytes are not a module that can run here.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("module has {0} bytes, more than the {max} allowed", max = limits::MODULE_BYTES)]
    TooLarge(usize),
    #[error("not a WebAssembly module: it does not begin with \\0asm")]
    NotWasm,
    #[error("not a WebAssembly module: {0}")]
    Malformed(String),
    #[error("has {found} {what}, more than the {max} allowed")]
    TooMuch { what: &'static str, found: usize, max: usize },
    #[error("is a WebAssembly component; Proxy-Wasm filters are core modules")]
    Component,
    #[error("exports no proxy_abi_version_0_1_0, _0_2_0 or _0_2_1: not a Proxy-Wasm filter, or of an unknown version")]
    NoAbiVersion,
    #[error("exports no memory named \"memory\"")]
    NoMemory,
    #[error("exports neither malloc nor proxy_on_memory_allocate")]
    NoAllocator,
    #[error("exports {export} with another signature than the ABI's: {found}")]
    Signature { export: &'static str, found: String },
    #[error("cannot be linked: {0}")]
    Link(String),
    #[error("compiled code cannot be loaded: {0}")]
    Artifact(String),
}

/// What a module says about itself, read without running or compiling it. It can be written down beside compiled code,
/// so that the module itself need not be read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    pub abi: AbiVersion,
    /// Exported functions.
    pub exports: BTreeSet<String>,
    /// `module.name` of every import.
    pub imports: Vec<String>,
    /// Hooks that our SDK's macro declared as the only ones with an effect.
    pub declared: Option<BTreeSet<String>>,
    pub(crate) trivial: BTreeMap<String, Trivial>,
}

impl Outline {
    /// Reads and checks the outline of a module.
    pub fn read(wasm: &[u8]) -> Result<Self, LoadError> {
        if wasm.len() > limits::MODULE_BYTES {
            return Err(LoadError::TooLarge(wasm.len()));
        }
        if Parser::is_component(wasm) {
            return Err(LoadError::Component);
        }
        if !wasm.starts_with(MAGIC) {
            return Err(LoadError::NotWasm);
        }
        let scan = Scan::run(wasm)?;
        let abi = AbiVersion::ALL
            .into_iter()
            .rev()
            .find(|abi| scan.functions.contains_key(abi.marker()))
            .ok_or(LoadError::NoAbiVersion)?;
        if !scan.memory {
            return Err(LoadError::NoMemory);
        }
        if !scan.functions.contains_key("malloc") && !scan.functions.contains_key("proxy_on_memory_allocate") {
            return Err(LoadError::NoAllocator);
        }
        let trivial =
            scan.functions.iter().filter_map(|(name, index)| Some((name.clone(), *scan.trivial.get(index)?))).collect();
        Ok(Self {
            abi,
            exports: scan.functions.into_keys().collect(),
            imports: scan.imports,
            declared: scan.declared,
            trivial,
        })
    }

    /// Whether calling this hook can have an effect.
    pub fn acts(&self, hook: Hook) -> bool {
        let name = hook.export();
        if !self.exports.contains(name) {
            return false;
        }
        if self.declared.as_ref().is_some_and(|declared| hook.may_be_skipped() && !declared.contains(name)) {
            return false;
        }
        match self.trivial.get(name) {
            Some(Trivial::Nothing) => false,
            Some(Trivial::Constant(value)) => *value != hook.neutral(),
            None => true,
        }
    }
}

#[derive(Default)]
struct Scan {
    functions: HashMap<String, u32>,
    memory: bool,
    imports: Vec<String>,
    declared: Option<BTreeSet<String>>,
    trivial: HashMap<u32, Trivial>,
    imported_functions: u32,
}

impl Scan {
    fn run(wasm: &[u8]) -> Result<Self, LoadError> {
        let mut scan = Self::default();
        let (mut code, mut elements) = (0, 0);
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        scan.imports.push(format!("{}.{}", import.module, import.name));
                        scan.imported_functions +=
                            u32::from(matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        match export.kind {
                            ExternalKind::Func => {
                                scan.functions.insert(export.name.to_owned(), export.index);
                            }
                            ExternalKind::Memory => scan.memory |= export.name == "memory",
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    within("functions", section.count() as usize, limits::FUNCTIONS)?;
                }
                Payload::ElementSection(section) => {
                    for element in section {
                        elements += match element?.items {
                            ElementItems::Functions(items) => items.count() as usize,
                            ElementItems::Expressions(_, items) => items.count() as usize,
                        };
                        within("elements of tables", elements, limits::ELEMENTS)?;
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    within("bytes in one function", body.range().len(), limits::FUNCTION_BYTES)?;
                    if let Some(found) = trivial::body(&body)? {
                        scan.trivial.insert(scan.imported_functions + code, found);
                    }
                    code += 1;
                }
                Payload::CustomSection(section) if section.name() == "name" => {
                    let reader = NameSectionReader::new(BinaryReader::new(section.data(), section.data_offset()));
                    let names = reader.into_iter().map_while(Result::ok).filter_map(|names| match names {
                        Name::Function(names) => Some(names),
                        _ => None,
                    });
                    for naming in names.flatten().map_while(Result::ok) {
                        within("bytes in the name of a function", naming.name.len(), limits::FUNCTION_NAME)?;
                    }
                }
                Payload::CustomSection(section) if section.name() == "sidegate.hooks" => {
                    let names = String::from_utf8_lossy(section.data());
                    let names = names.split(',').map(|name| name.trim().to_owned());
                    scan.declared.get_or_insert_default().extend(names.filter(|name| !name.is_empty()));
                }
                _ => {}
            }
        }
        Ok(scan)
    }
}

impl From<wasmparser::BinaryReaderError> for LoadError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed(harmless(&cut(error.to_string())))
    }
}

fn within(what: &'static str, found: usize, max: usize) -> Result<(), LoadError> {
    if found > max { Err(LoadError::TooMuch { what, found, max }) } else { Ok(()) }
}

/// Compiled code, checked and linked: ready to make VMs from on any thread. Cheap to clone.
pub struct Module<H: Host> {
    pub(crate) engine: Engine<H>,
    pub(crate) pre: InstancePre<State<H>>,
    pub(crate) outline: Arc<Outline>,
}

impl<H: Host> Clone for Module<H> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), pre: self.pre.clone(), outline: self.outline.clone() }
    }
}

impl<H: Host> Module<H> {
    /// Checks `wasm`, then loads the artifact that [`compile`](crate::compile) made of it.
    pub fn load(engine: &Engine<H>, wasm: &[u8], artifact: Trusted<'_>) -> Result<Self, LoadError> {
        Self::load_outlined(engine, Outline::read(wasm)?, artifact)
    }

    /// The same, of a module whose outline was read when it was compiled.
    pub fn load_outlined(engine: &Engine<H>, outline: Outline, artifact: Trusted<'_>) -> Result<Self, LoadError> {
        let module = artifact.load(engine.wasmtime()).map_err(|error| LoadError::Artifact(text(&error)))?;
        check_signatures(&module, outline.abi)?;
        let linker = engine.linker(outline.abi).ok_or(LoadError::NoAbiVersion)?;
        let pre = linker.instantiate_pre(&module).map_err(|error| LoadError::Link(text(&error)))?;
        Ok(Self { engine: engine.clone(), pre, outline: Arc::new(outline) })
    }

    pub fn outline(&self) -> &Outline {
        &self.outline
    }
}

/// Compiles in this process, for tests and tools.
impl<H: Host> Module<H> {
    pub fn compile(engine: &Engine<H>, wasm: &[u8]) -> Result<Self, LoadError> {
        Outline::read(wasm)?;
        let artifact = crate::compile(engine.policy(), wasm).map_err(|error| LoadError::Malformed(text(&error)))?;
        Self::load(engine, wasm, Trusted::vouch(&artifact))
    }
}

/// Refuses hooks, starts and allocators that could not be called as the ABI says.
fn check_signatures(module: &wasmtime::Module, abi: AbiVersion) -> Result<(), LoadError> {
    let check = |export, params, results| {
        let Some(ExternType::Func(found)) = module.get_export(export) else { return Ok(()) };
        let fits = found.params().len() == params
            && found.results().len() == results
            && found.params().chain(found.results()).all(|value| value.is_i32());
        if fits { Ok(()) } else { Err(LoadError::Signature { export, found: describe(&found) }) }
    };
    for hook in Hook::ALL {
        let (params, result) = hook.signature(abi);
        check(hook.export(), params, usize::from(result))?;
    }
    // Of two that do the same the first is called.
    for (names, params, results) in [(["malloc", "proxy_on_memory_allocate"], 1, 1), (["_initialize", "_start"], 0, 0)]
    {
        if let Some(called) = names.into_iter().find(|name| module.get_export(name).is_some()) {
            check(called, params, results)?;
        }
    }
    Ok(())
}

/// `(i32, i64) -> i32`
fn describe(found: &FuncType) -> String {
    let list = |values: Vec<String>| values.join(", ");
    let params = list(found.params().map(|value| value.to_string()).collect());
    let results = list(found.results().map(|value| value.to_string()).collect());
    if results.is_empty() { format!("({params})") } else { format!("({params}) -> {results}") }
}

fn text(error: &wasmtime::Error) -> String {
    harmless(&cut(format!("{error:#}")))
}
