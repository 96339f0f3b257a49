//! A window of one's own: the order lines of even quantity, four at a time, smallest first.
//!
//! What to look at:
//! - `Smallest` is asked whenever a line has come in. It sees all lines that are buffered, and says which of them are the next window, in
//!   which order. The others stay.
//! - Odd quantities are dropped as they come; they count as unmatched in the report.
//! - At the end of the stream it gives out what is left, though it is fewer.
//! - A run that is killed and started again goes on with what was buffered: nothing is lost, and nothing comes twice.

use watermill::prelude::*;
use watermill::window::{Buffer, Emit, Wake, WindowEmitter};

const AT_A_TIME: usize = 4;

#[derive(Deserialize, StreamRecord)]
struct OrderLine {
    order: u32,
    sku: String,
    quantity: u32,
}

#[derive(Serialize, StreamRecord)]
struct Picked {
    round: u64,
    lines: Vec<String>,
}

struct Smallest;

impl WindowEmitter<OrderLine> for Smallest {
    fn emit(&mut self, lines: Buffer<'_, OrderLine>) -> Emit {
        let (mut even, odd): (Vec<usize>, Vec<usize>) =
            (0..lines.len()).partition(|at| lines[*at].quantity.is_multiple_of(2));
        even.sort_by_key(|at| lines[*at].quantity);
        even.truncate(AT_A_TIME);
        if even.len() < AT_A_TIME && lines.why() != Wake::EndOfStream {
            return Emit::nothing().and_drop(odd);
        }
        Emit::take(even).and_drop(odd)
    }
}

fn pick(lines: &[OrderLine], info: &WindowInfo) -> Picked {
    let text = |line: &OrderLine| format!("{} {} for {}", line.quantity, line.sku, line.order);
    Picked { round: info.index(), lines: lines.iter().map(text).collect() }
}

#[tokio::main]
async fn main() -> watermill::Result<()> {
    let files = JsonFileBroker::new()
        .read::<OrderLine>("examples/data/order-lines.ndjson")
        .write::<Picked>("out/picked.ndjson");

    let report = Mill::new(pick).window(Window::emitter(|| Smallest)).run(files).await?;
    println!("{report}");
    Ok(())
}
