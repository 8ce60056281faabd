//! When each job is due: the capture's own times, faster or slower, or at once.

use std::str::FromStr;

/// How fast is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was captured.
    Times(f64),
    /// As fast as the target takes it.
    Max,
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Speed, String> {
        let wrong = || format!("{text:?} is no speed: a number above 0 (1 is as captured), or max");
        if text == "max" {
            return Ok(Speed::Max);
        }
        let times: f64 = text.trim_end_matches('x').parse().map_err(|_| wrong())?;
        if times.is_finite() && times > 0.0 { Ok(Speed::Times(times)) } else { Err(wrong()) }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Speed::Times(times) => write!(f, "{times}"),
            Speed::Max => f.write_str("max"),
        }
    }
}

impl Speed {
    /// When a job of this time in the capture is due, nanoseconds since the replay began; `None` if at once.
    pub fn due(self, time: u64) -> Option<u64> {
        match self {
            Speed::Times(times) => Some((time as f64 / times) as u64),
            Speed::Max => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_due_at_their_own_times_divided_by_the_speed() {
        assert_eq!("1".parse::<Speed>().unwrap().due(5_000_000_000), Some(5_000_000_000));
        assert_eq!("10x".parse::<Speed>().unwrap().due(5_000_000_000), Some(500_000_000));
        assert_eq!("0.5".parse::<Speed>().unwrap().due(5), Some(10));
        assert_eq!("max".parse::<Speed>().unwrap().due(5), None);
    }

    #[test]
    fn what_is_no_speed_is_refused() {
        for text in ["0", "-1", "fast", "inf", "nan", ""] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
    }
}
