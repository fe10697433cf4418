//! Where the limits are: what is left of a write, or of a swap, when all but what can't be done without is
//! taken away. Nothing of the library is called.
//!
//! Usage: limits loop [BYTES]   a write in a loop: a copy, a position that others see, the steps of a write
//!        limits pause          words that nobody has touched for some 20 ms

mod loops;
mod pause;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["loop"] => loops::run(128),
        ["loop", bytes] if bytes.parse().is_ok_and(|n| loops::RECORD_BYTES.contains(&n)) => {
            loops::run(bytes.parse().expect("it was parsed a moment ago"));
        }
        ["pause"] => pause::run(),
        _ => {
            eprintln!("usage: limits loop [BYTES] | pause");
            std::process::exit(2)
        }
    }
}

/// The value at so many thousandths.
fn quantile(values: &mut [f64], thousandths: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * thousandths / 1000).min(values.len() - 1)]
}
