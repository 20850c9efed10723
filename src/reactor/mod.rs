//! The only code that names mio: the turn, sockets, the clock.
