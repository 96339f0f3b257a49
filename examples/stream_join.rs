//! A join of two named streams: what was ordered and what was paid, appended by different programs whenever it happens.
//!
//! `cargo run --features streams --example stream_join`
//!
//! What to look at:
//! - The function and the join are those of any other mill: `&Order`, and all payments of its number.
//! - A join needs both streams in their order, so its mill has them alone; in return it knows when an order is complete, and its results come in order.
//! - Results, what was consumed, and positions are one transaction. Kill it anywhere and start it again.

use watermill::prelude::*;

#[derive(Serialize, Deserialize, StreamRecord)]
struct Order {
    id: u64,
    cents: i64,
}

#[derive(Serialize, Deserialize, StreamRecord)]
struct Payment {
    order: u64,
    cents: i64,
}

#[derive(Serialize, Deserialize, StreamRecord)]
struct Balance {
    order: u64,
    open: i64,
}

fn balance(order: &Order, payments: &Joined<Order, Payment>) -> Balance {
    let paid: i64 = payments[order].iter().map(|payment| payment.cents).sum();
    Balance { order: order.id, open: order.cents - paid }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1);
    let streams = Streams::open(&file.map_or("memory:".to_owned(), |file| format!("sqlite:{file}")))?;
    let (orders, payments) = (streams.stream::<Order>("orders")?, streams.stream::<Payment>("payments")?);
    let balances = streams.stream::<Balance>("balances")?;

    orders.append_all(&[(1, 500), (2, 1200), (3, 90)].map(|(id, cents)| Order { id, cents }))?;
    payments.append_all(&[(1, 500), (2, 400), (2, 700)].map(|(order, cents)| Payment { order, cents }))?;
    orders.close()?;
    payments.close()?;

    let report = Mill::new(balance)
        .join(JoinWith::new(Order::fields().id, Payment::fields().order).left())
        .progress(false)
        .run_blocking(orders.consumer().read(&payments).write(&balances))?;
    println!("{report}\n");
    for message in balances.buffer()? {
        let Balance { order, open } = message.get()?;
        println!("order {order}: {open} cents are open");
    }
    Ok(())
}
