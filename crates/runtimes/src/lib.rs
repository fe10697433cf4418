//! Nothing: the tests are in `tests/`, the example in `examples/`.
