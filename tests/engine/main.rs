//! One session, fed by hand.
