//! A client's session: what it asks, where, and how it ends. It follows `src/proxy/exchange.rs` step by step.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};
use torana::pool::{Class, CloseReason};
use torana::proxy::transactions::{Own, Step};
use torana::proxy::verdict;
use torana::topology::TopologyVersion;

use crate::held::Held;
use crate::ledger::Lane;
use crate::node::{NO_SUCH_TRANSACTION, Transaction, WRITE_CONFLICT, transaction_id};
use crate::orphan;
use crate::proxy::{Proxy, SimMember};
use crate::request::{Op, Request};
use crate::wire::Lost;

/// Documents that clients write.
const DOCUMENTS: u8 = 4;
const ROUND: Duration = Duration::from_millis(50);

/// What the server or torana said.
pub type Answer = Option<i64>;

/// torana has closed the client's connection, or refused the request: the client begins anew.
pub struct Ended;

/// A client with its connection.
pub struct Session {
    proxy: Arc<Proxy>,
    id: u64,
    pub dice: SmallRng,
    part: Own,
    own: Vec<Transaction>,
    requests: u64,
    transactions: i64,
    /// Operations that succeeded.
    pub done: u64,
}

impl Session {
    pub fn new(proxy: Arc<Proxy>, id: u64, seed: u64) -> Session {
        let dice = SmallRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(id));
        let (part, own) = (Own::default(), Vec::new());
        Session { proxy, id, dice, part, own, requests: 0, transactions: 0, done: 0 }
    }

    fn millis(&mut self, range: std::ops::RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.dice.random_range(range))
    }

    /// The client's connection is gone, however that came.
    pub fn leave(&mut self) {
        self.proxy.transactions.left(&std::mem::take(&mut self.part));
        self.own.drain(..).for_each(|transaction| self.proxy.parts_with(transaction));
    }

    /// One piece of work.
    pub async fn work(&mut self) -> Result<(), Ended> {
        match self.dice.random_range(0..100) {
            0..35 => self.one(Op::Find, false).await,
            35..55 => {
                let document = self.dice.random_range(0..DOCUMENTS);
                self.one(Op::Write(document), true).await
            }
            55..65 => self.one(Op::GetMore, false).await,
            65..80 => self.await_data().await,
            _ => self.transaction().await,
        }
    }

    fn any_member(&mut self) -> Option<Arc<SimMember>> {
        let members = self.proxy.members();
        let index = self.dice.random_range(0..members.len().max(1));
        members.get(index).cloned()
    }

    fn request(&mut self, op: Op) -> Request {
        self.requests += 1;
        let is_slow = matches!(op, Op::Find | Op::Write(_)) && self.dice.random_ratio(1, 30);
        let service = if is_slow { self.millis(200..=2000) } else { self.millis(0..=20) };
        Request { client: self.id, nonce: self.requests, op, service }
    }

    async fn one(&mut self, op: Op, on_primary: bool) -> Result<(), Ended> {
        let member = if on_primary { self.proxy.primary() } else { self.any_member() };
        let Some(member) = member else { return Ok(()) };
        self.exchange(&member, op).await.map(drop)
    }

    /// A transaction of a few statements, all on the member that was primary at its start.
    async fn transaction(&mut self) -> Result<(), Ended> {
        let Some(member) = self.proxy.primary() else { return Ok(()) };
        self.transactions += 1;
        let transaction = (self.id as u8, self.transactions);
        let statements = self.dice.random_range(1..=3);
        for number in 0..statements {
            let document = self.dice.random_range(0..DOCUMENTS);
            let step = if number == 0 { Step::Start } else { Step::Continue };
            if self.exchange(&member, Op::Statement(transaction, step, document)).await?.is_some() {
                // Ended by the server, or never begun. A driver aborts in any case.
                return self.exchange(&member, Op::Abort(transaction)).await.map(drop);
            }
            let think = self.millis(0..=60);
            sleep(think).await;
        }
        let commits = self.dice.random_ratio(3, 4);
        let end = if commits { Op::Commit(transaction) } else { Op::Abort(transaction) };
        self.exchange(&member, end).await.map(drop)
    }

    /// As `awaiting::get_more`: a share of the pool, or rounds without waiting.
    async fn await_data(&mut self) -> Result<(), Ended> {
        let Some(member) = self.any_member() else { return Ok(()) };
        let until = Instant::now() + self.millis(50..=800);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if let Some(permit) = member.pool.try_awaiting() {
                let request = self.request(Op::Await(left));
                let held = Held::check_out_awaiting(&self.proxy.world, &member, permit).await;
                return self.run(held.map_err(|_| Ended)?, request).await.map(drop);
            }
            self.exchange(&member, Op::Await(Duration::from_millis(1))).await?;
            sleep(left.min(ROUND)).await;
        }
    }

    async fn exchange(&mut self, member: &Arc<SimMember>, op: Op) -> Result<Answer, Ended> {
        let statement = op.statement().filter(|(_, step)| *step != Step::Start);
        let continues = statement.map(|(transaction, _)| transaction);
        let id = continues.map(transaction_id);
        let frees_others = op.is_relief() || continues.is_some_and(|open| self.own.contains(&open));
        let lane = match self.proxy.transactions.class(op.is_relief(), id.as_ref()) {
            Class::Ordinary => Lane::Ordinary,
            Class::Relief => Lane::Relief,
        };
        if let Some(id) = &id {
            self.proxy.transactions.waits(id, member, &mut self.part);
        }
        let deadline = self.dice.random_ratio(1, 10).then(|| Instant::now() + self.millis(1..=1000));
        let request = self.request(op);
        let held = Held::check_out(&self.proxy.world, member, lane, frees_others, deadline).await;
        self.run(held.map_err(|_| Ended)?, request).await
    }

    /// As `exchange::forward_as` from `send` on.
    async fn run(&mut self, mut held: Held, request: Request) -> Result<Answer, Ended> {
        let proxy = self.proxy.clone();
        let member = held.member.clone();
        proxy.world.note(|| {
            let (client, nonce, op) = (self.id, request.nonce, request.op.name());
            format!("client {client}.{nonce}: {op} at {} over {}", member.port, held.wire().id)
        });
        if let Some((transaction, step)) = request.op.statement() {
            if step == Step::Start {
                self.own.push(transaction);
                proxy.takes_part(transaction);
            }
            proxy.transactions.used(&transaction_id(transaction), &member, &mut self.part, step);
        }
        let sent = Instant::now();
        held.send(&request);
        let patience = self.patience();
        let reply = tokio::select! {
            biased;
            reply = held.receive(&request) => reply,
            () = member.until_removed() => return Err(Ended),
            () = member.given_up.notified() => return Err(Ended),
            () = sleep(patience) => {
                let may_close = self.dice.random_bool(0.5);
                orphan::adopt(&proxy, held, request, may_close);
                return Err(Ended);
            }
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(lost) => return Err(self.lost(held, sent, &lost)),
        };
        self.take_note(&member, &request, reply.code, held.generation(), reply.version);
        held.finish();
        self.done += 1;
        Ok(reply.code)
    }

    /// As `exchange::server_failed`.
    fn lost(&self, held: Held, sent: Instant, lost: &Lost) -> Ended {
        let (world, member, generation) = (&self.proxy.world, held.member.clone(), held.generation());
        let (pool, port) = (&member.pool, member.port);
        let before = pool.generation();
        verdict::connection_failed(pool, &member.monitored, generation, lost.io());
        let is_so = match lost {
            Lost::Closed => pool.generation() == before,
            Lost::Silent(_) => pool.generation() != generation,
        };
        world.check(is_so, || format!("{port}: {lost:?}, and generation {generation}, {before} goes on"));
        let is_excused = world.is_excused(port, sent) || held.wire().is_reset();
        world.check(is_excused, || format!("{port}: {lost:?} without a fault"));
        held.close(CloseReason::Error);
        Ended
    }

    /// One in twelve leaves while its request is on the server.
    fn patience(&mut self) -> Duration {
        match self.dice.random_ratio(1, 12) {
            true => self.millis(0..=200),
            false => Duration::from_secs(3600),
        }
    }

    /// As `exchange::note_outcome`.
    fn take_note(
        &mut self,
        member: &Arc<SimMember>,
        request: &Request,
        code: Answer,
        generation: u64,
        version: TopologyVersion,
    ) {
        if let Some(code) = code {
            verdict::error_passed(&member.pool, &member.monitored, generation, code, Some(version));
        }
        let Some((transaction, _)) = request.op.statement() else { return };
        let (id, is_commit) = (transaction_id(transaction), matches!(request.op, Op::Commit(_)));
        let is_over = match code {
            None => is_commit || matches!(request.op, Op::Abort(_)),
            Some(code) => code == NO_SUCH_TRANSACTION,
        };
        if is_over {
            self.proxy.transactions.ended(&id, member, &mut self.part);
            self.own.retain(|own| *own != transaction);
            self.proxy.parts_with(transaction);
        } else if code.is_some() && (!is_commit || code == Some(WRITE_CONFLICT)) {
            // TransientTransactionError stands on whatever ends a transaction but a commit.
            self.proxy.transactions.failed(&id, member, &self.part);
        }
    }
}
