//! Three answers: a request may be read in more than one way, and then a condition may hold for one reading only.

/// Whether a condition holds. The order is the order of [`Truth::all`] and [`Truth::any`]: minimum and maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// For no reading of the request.
    No,
    /// For some readings.
    Unsure,
    /// For all.
    Yes,
}

impl Truth {
    /// The answer for what has one reading.
    #[must_use]
    pub fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    /// The answer for readings of the same thing; no reading is `No`.
    pub fn over(readings: impl IntoIterator<Item = bool>) -> Self {
        let mut answer = None;
        for holds in readings {
            let one = Self::of(holds);
            if *answer.get_or_insert(one) != one {
                return Self::Unsure;
            }
        }
        answer.unwrap_or(Self::No)
    }

    /// Whether all hold; nothing to hold is `Yes`.
    pub fn all(answers: impl IntoIterator<Item = Self>) -> Self {
        let mut least = Self::Yes;
        for answer in answers {
            least = least.min(answer);
            if least == Self::No {
                break;
            }
        }
        least
    }

    /// Whether one holds; nothing to hold is `No`.
    pub fn any(answers: impl IntoIterator<Item = Self>) -> Self {
        let mut most = Self::No;
        for answer in answers {
            most = most.max(answer);
            if most == Self::Yes {
                break;
            }
        }
        most
    }

    /// The contrary.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unsure => Self::Unsure,
            Self::Yes => Self::No,
        }
    }
}
