//! Streams whose keys come slightly out of order.

use std::any::{Any, TypeId};

use super::Mill;
use crate::assemble::role_checks;
use crate::engine::RoleCheck;
use crate::error::{BuildError, BuildProblem};
use crate::mistake::Mistake;
use crate::plan::Plan;
use crate::record::StreamRecord;
use crate::window::Window;

/// What was asked for a record type.
pub(super) struct Reorder {
    within: usize,
    /// The orders that these checks ask for, each a `Box<dyn RoleCheck<R>>`.
    orders: fn(&[Box<dyn Any + Send>]) -> Vec<String>,
}

fn orders_of<R: StreamRecord>(checks: &[Box<dyn Any + Send>]) -> Vec<String> {
    let typed = checks.iter().filter_map(|check| check.downcast_ref::<Box<dyn RoleCheck<R>>>());
    let mut orders: Vec<String> = typed.filter_map(|check| check.order()).collect();
    orders.sort();
    orders.dedup();
    orders
}

impl<M: StreamRecord> Mill<M> {
    /// Sorts records of `R` back that come late: after no more than `records` with a greater key. They are put in the order of
    /// their join key before keys are checked; equal keys stay in the order of the stream. One that comes later than that
    /// is a bad record, as every key that goes down is otherwise.
    ///
    /// The last `records` records are held, in memory, until more have come or the stream ends: on a quiet stream they wait as long as it is
    /// quiet. A record whose key is `None` matches nothing, and is not held. A run that is taken up goes on with
    /// what was held.
    ///
    /// All joins of the stream must ask for the same order: by one key expression, apart from constants that are added. A stream that is read
    /// only as a [lookup](crate::JoinWith::lookup) or without a join has no order. Either is a [`BuildError`].
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { time: i64 }
    /// # #[derive(StreamRecord)] struct Door { time: i64 }
    /// #[derive(StreamRecord, Debug, PartialEq)]
    /// struct Open { time: i64 }
    ///
    /// let opened = Collected::<Open>::new();
    /// // 5 comes one record late, 20 comes two records late.
    /// let readings = [10, 5, 30, 40, 20].map(|time| Reading { time });
    /// let broker = MemoryBroker::new()
    ///     .read(Vec::from(readings))
    ///     .read(vec![Door { time: 5 }, Door { time: 20 }])
    ///     .write(&opened);
    /// Mill::new(|reading: &Reading| Open { time: reading.time })
    ///     .join(JoinWith::new(Reading::fields().time, Door::fields().time).exists())
    ///     .reorder_within::<Reading>(2)
    ///     .run_blocking(broker)?;
    /// assert_eq!(opened.take(), [Open { time: 5 }, Open { time: 20 }]);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn reorder_within<R: StreamRecord>(mut self, records: usize) -> Self {
        if records == 0 {
            let fix = "give it how many records late one may be, or leave it out";
            self.mistakes.push(Mistake::new("`.reorder_within(0)` sorts nothing", fix));
        }
        self.reorder.insert(TypeId::of::<R>(), Reorder { within: records, orders: orders_of::<R> });
        self
    }

    /// Notes in the plan which streams are sorted back.
    pub(super) fn sort_back(&self, plan: &mut Plan) -> Result<(), BuildError> {
        if self.reorder.is_empty() {
            return Ok(());
        }
        let window = self.window.as_ref().and_then(Window::check);
        for (index, checks) in role_checks(plan, window).iter().enumerate() {
            let Some(reorder) = self.reorder.get(&plan.nodes[index].record.id()) else { continue };
            let orders = (reorder.orders)(checks);
            let stream = plan.nodes[index].stream.clone();
            match orders.as_slice() {
                [_] => plan.nodes[index].within = reorder.within,
                [] => {
                    let why = "no join asks for an order of its keys".to_owned();
                    let fix = "leave out `reorder_within`";
                    return Err(plan.error(BuildProblem::Order { stream, why }, fix));
                }
                [one, other, ..] => {
                    let why = format!("they must be in the order of `{one}`, and in that of `{other}`");
                    let fix =
                        "let all joins of the stream go by one key (plus a constant), or sort it before";
                    return Err(plan.error(BuildProblem::Order { stream, why }, fix));
                }
            }
        }
        Ok(())
    }
}
