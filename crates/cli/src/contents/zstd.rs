//! Zstd frames, one after the other.

use std::io::{self, ErrorKind};

use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

/// Memory of the buffer of a file, and of what the decoder does not count.
const BUFFER_BYTES: usize = 96 << 10;

/// Decodes frames.
pub(super) struct Frame {
    context: DCtx<'static>,
    /// No frame has begun, or the last one has ended.
    is_over: bool,
}

impl Frame {
    /// Fails for want of memory.
    pub(super) fn new(window_log: u32) -> io::Result<Self> {
        let mut context = DCtx::try_create().ok_or(ErrorKind::OutOfMemory)?;
        context.set_parameter(DParameter::WindowLogMax(window_log)).map_err(failed)?;
        Ok(Frame { context, is_over: true })
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn memory(&self) -> usize {
        self.context.sizeof() + BUFFER_BYTES
    }

    /// Forgets a damaged frame.
    pub(super) fn restart(&mut self) {
        // It fails only where a parameter is to be changed within a frame.
        let _ = self.context.reset(ResetDirective::SessionOnly);
        self.is_over = true;
    }

    /// Decodes some bytes. Returns how many it took, and how many it made.
    pub(super) fn decode(&mut self, bytes: &[u8], out: &mut [u8]) -> io::Result<(usize, usize)> {
        if self.is_over && bytes.is_empty() {
            return Ok((0, 0));
        }
        let mut input = InBuffer::around(bytes);
        let mut output = OutBuffer::around(out);
        let hint = self.context.decompress_stream(&mut output, &mut input).map_err(failed)?;
        self.is_over = hint == 0;
        Ok((input.pos(), output.pos()))
    }
}

fn failed(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}
