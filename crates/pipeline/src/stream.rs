//! What is known before a run about the messages between two stages: their type, their order, the fields they carry.

use std::any::TypeId;
use std::collections::BTreeSet;

use crate::Message;
use crate::message::type_name;

/// The type of message that a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageType {
    id: TypeId,
    pub(crate) name: &'static str,
}

impl MessageType {
    pub(crate) fn of<T: Message>() -> MessageType {
        MessageType {
            id: TypeId::of::<T>(),
            name: type_name::<T>(),
        }
    }
}

/// In which order messages come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In none that anyone vouches for.
    #[default]
    Unknown,
    /// By these keys, the first one first.
    By(Vec<String>),
    /// They were in order until a stage let go of it.
    Lost {
        /// The keys of the order that was lost.
        keys: Vec<String>,
        /// What happened, as a clause: `stage "keep" runs on 4 threads`.
        why: String,
        /// What would keep it, as an order: `set threads = 1 on stage "keep"`.
        remedy: Option<String>,
    },
}

impl Order {
    /// Gives the order up, keeping what was lost and why for the error message of a stage that needs it.
    #[must_use]
    pub fn lost(self, why: impl Into<String>) -> Order {
        match self {
            Order::By(keys) => Order::Lost {
                keys,
                why: why.into(),
                remedy: None,
            },
            other => other,
        }
    }

    /// Gives the order up to something that can be helped.
    pub(crate) fn lost_unless(self, remedy: String, why: String) -> Order {
        match self {
            Order::By(keys) => Order::Lost {
                keys,
                why,
                remedy: Some(remedy),
            },
            other => other,
        }
    }
}

/// What a stage states about the messages on one of its output ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Their order.
    pub order: Order,
    /// The names of the fields that are filled in their records.
    pub fields: BTreeSet<String>,
}

/// What comes in on an input port.
#[derive(Clone, Debug)]
pub struct Stream {
    pub(crate) message: MessageType,
    /// What the producers vouch for.
    pub properties: Properties,
}

impl Stream {
    /// Whether the messages are of type `T`.
    pub fn is<T: Message>(&self) -> bool {
        self.message == MessageType::of::<T>()
    }

    /// The name of the message type.
    pub fn type_name(&self) -> &'static str {
        self.message.name
    }
}
