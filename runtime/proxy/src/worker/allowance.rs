//! What the process may hold, as the configuration says at present.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Limits that change while the process runs.
#[derive(Debug)]
pub struct Allowance {
    workers: usize,
    /// Connections when nothing is configured: half of the files that the process may open.
    usual_connections: AtomicUsize,
    connections: AtomicUsize,
    memory: AtomicU8,
}

impl Allowance {
    /// Without limits, until some are set.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: workers.max(1),
            usual_connections: AtomicUsize::new(usize::MAX),
            connections: AtomicUsize::new(usize::MAX),
            memory: AtomicU8::new(100),
        }
    }

    /// How many files the process may open.
    pub fn set_files(&self, files: usize) {
        self.usual_connections.store(files / 2, Ordering::Relaxed);
    }

    /// What is configured; 0 connections: the usual number.
    pub fn set(&self, connections: u32, memory: u8) {
        let usual = self.usual_connections.load(Ordering::Relaxed);
        let connections = if connections == 0 { usual } else { connections as usize };
        self.connections.store((connections / self.workers).max(1), Ordering::Relaxed);
        self.memory.store(memory, Ordering::Relaxed);
    }

    /// Connections that one worker may hold.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Percent of the memory limit from which the process is overloaded.
    pub fn memory(&self) -> u8 {
        self.memory.load(Ordering::Relaxed)
    }
}
