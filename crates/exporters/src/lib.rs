//! Examples with heavy dependencies. Each is a program in `src/bin/`.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
