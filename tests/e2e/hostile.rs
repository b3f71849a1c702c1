//! Hostile modules, each beside an innocent route of the same worker: the client gets the answer that the contract
//! promises, the innocent route never waits long, memory stays bounded, and the next request finds all in order.

mod arena;
mod bombs;
mod faults;
mod refused;
mod writes;
