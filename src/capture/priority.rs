//! The priority of the thread that writes. It must not take a core from those who serve clients while there is room in its
//! queue, and must not let the queue become full either, as connections would be dropped from the capture.

use rustix::process::{getpriority_process, setpriority_process};

/// How much lower than torana's, on the scale of nice(2), while little waits: a sixth of what each of the others gets where
/// all cores are taken, and all that nobody else wants. A busy proxy fills the queue in half a second: with much less the
/// thread would not run often enough to find out that it has to raise itself.
const LOW: i32 = 8;

/// The same where it could not be raised again, which needs a privilege (`CAP_SYS_NICE`): a third.
const LASTING: i32 = 5;

/// The highest number of nice(2).
const LOWEST: i32 = 19;

/// Of the thread that calls: on Linux each has its own.
#[derive(Debug)]
pub struct Priority {
    usual: i32,
    may_raise: bool,
    is_low: bool,
}

impl Priority {
    /// Lowers it.
    pub fn lower() -> Priority {
        let usual = getpriority_process(None).unwrap_or(0);
        let may_raise = usual < LOWEST && set(usual + 1) && set(usual);
        set(usual + if may_raise { LOW } else { LASTING });
        Priority { usual, may_raise, is_low: true }
    }

    /// Raises it when more than a quarter of the queue is full, until less than a sixteenth is.
    pub fn adjust(&mut self, used: usize, used_max: usize) {
        let is_low = match self.is_low {
            true => used <= used_max / 4,
            false => used < used_max / 16,
        };
        if is_low != self.is_low && self.may_raise {
            self.is_low = is_low;
            set(self.usual + if is_low { LOW } else { 0 });
        }
    }
}

/// Nothing is lost where it fails.
fn set(priority: i32) -> bool {
    setpriority_process(None, priority.min(LOWEST)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_low_while_little_waits_and_for_this_thread_alone() {
        let own = || getpriority_process(None).unwrap();
        let before = own();
        std::thread::spawn(move || {
            let mut priority = Priority::lower();
            assert!(own() > before || before == LOWEST);
            if priority.may_raise {
                let low = own();
                priority.adjust(25, 100);
                assert_eq!(own(), low);
                priority.adjust(26, 100);
                assert_eq!(own(), before);
                priority.adjust(6, 100);
                assert_eq!(own(), before);
                priority.adjust(5, 100);
                assert_eq!(own(), low);
            }
        })
        .join()
        .unwrap();
        assert_eq!(own(), before);
    }
}
