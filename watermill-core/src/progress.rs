//! A progress bar on the terminal, for runs whose inputs are finite.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::handle::Control;

/// Runs shorter than this show no bar.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(200);

const TEMPLATE: &str = "{prefix} [{bar:30}] {percent:>3}%  {msg}  {eta} left";

/// A bar under way; it goes when this is dropped.
pub(crate) struct Bar {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a bar, where standard error is a terminal.
pub(crate) fn start(control: &Arc<Control>, name: &str) -> Option<Bar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let done = Arc::new(AtomicBool::new(false));
    let (control, name, stop) = (Arc::clone(control), name.to_owned(), Arc::clone(&done));
    let draw = move || draw(&control, name, &stop);
    let thread = std::thread::Builder::new().name("watermill-bar".to_owned()).spawn(draw).ok()?;
    Some(Bar { done, thread: Some(thread) })
}

fn draw(control: &Control, name: String, done: &AtomicBool) {
    let started = Instant::now();
    let mut shown: Option<ProgressBar> = None;
    loop {
        std::thread::park_timeout(REDRAW);
        if done.load(Ordering::Acquire) {
            break;
        }
        let (progress, total, records) = {
            let watch = control.watch();
            (watch.progress, watch.total, watch.records)
        };
        let Some(total) = total.filter(|_| started.elapsed() >= SHOW_AFTER) else { continue };
        let bar = shown.get_or_insert_with(|| {
            let style =
                ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(total).with_style(style).with_prefix(name.clone());
            bar.with_elapsed(started.elapsed())
        });
        let rate = records as f64 / started.elapsed().as_secs_f64();
        bar.set_message(format!("{rate:.0} records/s"));
        bar.set_position(progress.min(total));
    }
    if let Some(bar) = shown {
        bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A bar that died has nothing left to clear.
            let _ = thread.join();
        }
    }
}
