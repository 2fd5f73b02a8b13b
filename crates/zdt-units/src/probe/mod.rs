//! The strict load client.
