//! The disk: pieces to files and back, SHA-1 of every piece.
