//! Promise: `write_async`, `send_async`, `flush_async` and `close_async` work on any executor. Tried on tokio with one
//! thread and with several, and on smol.

mod close;
mod flush;
mod memory;
mod support;
