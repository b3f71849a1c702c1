//! On which side of a request the workload stands.

use crate::config::Mode;

/// Where the listener stands, as seen from the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Requests come to the workload: it is the destination.
    Inbound,
    /// Requests leave the workload: it is the source.
    Outbound,
}

impl Direction {
    pub(crate) const BOTH: [Self; 2] = [Self::Inbound, Self::Outbound];

    /// From `xds.listener_direction`; what is not said is inbound.
    #[must_use]
    pub fn from_property(value: Option<i64>) -> Self {
        if value == Some(2) { Self::Outbound } else { Self::Inbound }
    }

    pub(crate) fn is_in(self, mode: Mode) -> bool {
        match mode {
            Mode::ClientAndServer => true,
            Mode::Client => self == Self::Outbound,
            Mode::Server => self == Self::Inbound,
        }
    }
}

/// One value for each side.
#[derive(Default)]
pub(crate) struct BySide<T> {
    pub(crate) inbound: T,
    pub(crate) outbound: T,
}

impl<T> BySide<T> {
    pub(crate) fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    pub(crate) fn of_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }
}
