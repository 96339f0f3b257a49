//! Three streams merged into a fourth: orders with their lines, the products of the lines, and the payments.
//!
//! What to look at:
//! - Joins nest. Products are joined to *lines*, so they come as `Joined<Line, Product>`, and are looked up with a
//!   line found in the group of the order.
//! - The join from a line to its product is an inner one: a line without a product is no line. An order whose lines are all gone
//!   is gone as well, since its own join is an inner one.
//! - Products are a small table in no order: `JoinWith::lookup` loads it whole.
//! - `.left()` keeps orders without payments.

use watermill::prelude::*;

#[derive(Deserialize, StreamRecord)]
struct Order {
    id: u64,
    customer: String,
}

#[derive(Deserialize, StreamRecord)]
struct Line {
    order: u64,
    sku: String,
    quantity: u64,
}

#[derive(Deserialize, StreamRecord)]
struct Product {
    sku: String,
    cents: u64,
}

#[derive(Deserialize, StreamRecord)]
struct Payment {
    order: u64,
    cents: u64,
}

#[derive(Serialize, StreamRecord)]
struct Invoice {
    order: u64,
    customer: String,
    lines: usize,
    cents: u64,
    paid: u64,
}

fn invoice(
    order: &Order,
    lines: &Joined<Order, Line>,
    products: &Joined<Line, Product>,
    payments: &Joined<Order, Payment>,
) -> Invoice {
    let lines = &lines[order];
    Invoice {
        order: order.id,
        customer: order.customer.clone(),
        lines: lines.len(),
        cents: lines.iter().map(|line| line.quantity * products[line][0].cents).sum(),
        paid: payments[order].iter().map(|payment| payment.cents).sum(),
    }
}

#[tokio::main]
async fn main() -> watermill::Result<()> {
    let files = JsonFileBroker::new()
        .read::<Order>("examples/data/orders.ndjson")
        .read::<Line>("examples/data/order-lines.ndjson")
        .read::<Product>("examples/data/products.ndjson")
        .read::<Payment>("examples/data/payments.ndjson")
        .write::<Invoice>("out/invoices.ndjson");

    let products = JoinWith::lookup(Line::fields().sku, Product::fields().sku);
    let mill = Mill::new(invoice)
        .join(JoinWith::new(Order::fields().id, Line::fields().order).join(products))
        .join(JoinWith::new(Order::fields().id, Payment::fields().order).left());
    println!("{}", mill.explain()?);
    let report = mill.run(files).await?;
    println!("{report}");
    Ok(())
}
