//! Everything a user names, in one import.

pub use crate::broker::memory::{Collected, MemoryBroker};
pub use crate::broker::{Broker, BrokerExt};
pub use crate::function::{Ack, Flow, Inject, Meta, Out};
pub use crate::group::Group;
pub use crate::join_with::JoinWith;
pub use crate::joined::Joined;
pub use crate::letter::DeadLetter;
pub use crate::mill::Mill;
pub use crate::policy::OnBad;
pub use crate::record::{Json, StreamRecord};
pub use crate::window::{Window, WindowInfo};
