//! Transactions as the planner sees them: a statement is only sent if the one that began its transaction was, and an end
//! only counts as a write if one of the statements was one.

use super::recent::Recent;
use super::scorecard::Skip;
use super::touch::Touched;
use super::view::View;
use crate::command::Kind;

/// Transactions that are remembered.
const TRANSACTIONS_MAX: usize = 100_000;

/// Documents of one transaction whose later users wait for its commit.
const TOUCHED_MAX: usize = 1000;

/// The newest transaction of each session, in each pass over the capture.
#[derive(Debug)]
pub struct Transactions {
    newest: Recent<(u32, [u8; 16]), Transaction>,
}

#[derive(Debug)]
struct Transaction {
    number: i64,
    is_sent: bool,
    wrote: bool,
    touched: Touched,
}

impl Default for Transactions {
    fn default() -> Self {
        Transactions { newest: Recent::new(TRANSACTIONS_MAX) }
    }
}

impl Transactions {
    /// Whether a request is sent, after its transaction was looked at. `decided` is what the request alone tells, and `writes`
    /// whether writes are replayed.
    pub fn decide(
        &mut self,
        lap: u32,
        view: &View<'_>,
        is_write: bool,
        writes: bool,
        decided: Result<(), Skip>,
    ) -> Result<(), Skip> {
        let fields = &view.fields;
        let Some(id) = fields.transaction.filter(|_| fields.in_transaction) else { return decided };
        if fields.starts_transaction {
            let (number, is_sent) = (id.number, decided.is_ok());
            let begun = Transaction { number, is_sent, wrote: is_write, touched: Touched::default() };
            self.newest.insert((lap, id.session), begun);
            return decided;
        }
        let known = self.newest.get_mut(&(lap, id.session)).filter(|known| known.number == id.number);
        let Some(known) = known else { return decided.and(Err(Skip::Transaction)) };
        known.wrote |= is_write;
        // An abort changes nothing, and frees what the reads before it hold.
        if is_end(view) && known.wrote && !writes && view.name() != b"abortTransaction" {
            return Err(Skip::Write);
        }
        if known.is_sent { decided } else { decided.and(Err(Skip::Transaction)) }
    }

    /// What a statement touches is touched once more by the commit, which is when others see it.
    pub fn add_touched(&mut self, lap: u32, view: &View<'_>, touched: &mut Touched) {
        let fields = &view.fields;
        let Some(id) = fields.transaction.filter(|_| fields.in_transaction) else { return };
        let Some(known) = self.newest.get_mut(&(lap, id.session)) else { return };
        if is_end(view) {
            touched.add(&known.touched, TOUCHED_MAX);
            return;
        }
        known.touched.add(touched, TOUCHED_MAX);
    }
}

fn is_end(view: &View<'_>) -> bool {
    view.fields.command.kind() == Kind::EndTransaction
}
