//! What the mills must write, by nested loops over everything.

use crate::data::{Odd, Saw, Streams, array, displaced, lines};
use crate::window_mills;

/// The texts of all outputs of a mill; `None` for those that are compared with an undisturbed run alone.
#[must_use]
pub fn outputs(mill: &str, streams: &Streams) -> Option<Vec<Vec<u8>>> {
    let Streams { a, b, c } = streams;
    let saw = |all: Vec<Vec<i64>>| -> Vec<String> {
        all.into_iter().map(|ids| serde_json::to_string(&Saw::of(ids)).unwrap()).collect()
    };
    let in_lines = |all: Vec<Vec<i64>>| vec![lines(&saw(all))];
    Some(match mill {
        "self-join" => {
            let pairs =
                a.iter().flat_map(|l| a.iter().filter(move |r| l.1 + 3 == r.1).map(move |r| vec![l.0, r.0]));
            in_lines(pairs.collect())
        }
        "nested-window" => {
            let mut windows: Vec<(i64, Vec<i64>)> = Vec::new();
            for l in a {
                let mut ids = vec![l.0];
                for m in b.iter().filter(|m| m.1 == l.1) {
                    let below: Vec<i64> = c.iter().filter(|r| r.1 == m.1 + 1).map(|r| r.0).collect();
                    if !below.is_empty() {
                        ids.push(m.0);
                        ids.extend(below);
                    }
                }
                if ids.len() == 1 {
                    continue;
                }
                match windows.last_mut() {
                    Some((key, window)) if *key == l.1 / 10 => window.extend(ids),
                    _ => windows.push((l.1 / 10, ids)),
                }
            }
            vec![array(&saw(windows.into_iter().map(|(_, ids)| ids).collect()))]
        }
        "nested-within" => {
            let one = |l: &(i64, i64, i64)| {
                let mut ids = vec![l.0];
                for m in b.iter().filter(|m| (l.1 - 9..=l.1 + 9).contains(&m.1)) {
                    let below: Vec<i64> = c.iter().filter(|r| r.1 == m.1).map(|r| r.0).collect();
                    if !below.is_empty() {
                        ids.push(m.0);
                        ids.extend(below);
                    }
                }
                ids
            };
            in_lines(a.iter().map(one).collect())
        }
        "count-window" => {
            let with_matches = |l: &(i64, i64, i64)| {
                let time = l.1;
                [l.0]
                    .into_iter()
                    .chain(b.iter().filter(move |r| r.1 == time).map(|r| r.0))
                    .collect::<Vec<_>>()
            };
            in_lines(a.chunks(7).map(|window| window.iter().flat_map(with_matches).collect()).collect())
        }
        "as-of" => {
            let latest = |time: i64| c.iter().rfind(|r| r.1 <= time).map(|r| r.0);
            let one = |l: &(i64, i64, i64)| {
                let m = b.iter().rfind(|m| m.1 <= l.1 && latest(m.1).is_some());
                let r = m.and_then(|m| latest(m.1));
                [Some(l.0), m.map(|m| m.0), r].into_iter().flatten().collect()
            };
            in_lines(a.iter().map(one).collect())
        }
        "within-and" => {
            let one = |l: &(i64, i64, i64)| {
                let near = b.iter().filter(|r| r.2 == l.2 && (l.1 - 5..=l.1 + 4).contains(&r.1));
                [l.0].into_iter().chain(near.map(|r| r.0)).collect()
            };
            in_lines(a.iter().map(one).collect())
        }
        "filter" => {
            let kept = b.iter().filter(|row| row.2 != 2).map(|row| vec![row.0]);
            vec![array(&saw(kept.collect()))]
        }
        "two-outputs" => {
            let count = a.len() as i64;
            let first = saw((0..count * 2 / 5).map(|id| vec![id]).collect());
            let odd: Vec<String> = (0..count * 4 / 5)
                .filter(|id| id % 2 == 1)
                .map(|id| serde_json::to_string(&Odd { id }).unwrap())
                .collect();
            vec![array(&first), lines(&odd)]
        }
        "lookup" => {
            let one = |l: &(i64, i64, i64)| {
                [l.0].into_iter().chain(b.iter().filter(|r| r.2 == l.2).take(5).map(|r| r.0)).collect()
            };
            in_lines(a.iter().map(one).collect())
        }
        "append" => {
            let odd = a.iter().filter(|row| row.0 % 2 == 1);
            let odd: Vec<_> = odd.map(|row| serde_json::to_string(&Odd { id: row.0 }).unwrap()).collect();
            vec![lines(&saw(a.iter().map(|row| vec![row.0]).collect())), array(&odd)]
        }
        "follow-join" | "follow-chain" => {
            let one = |l: &(i64, i64, i64)| {
                let again = a.iter().filter(|r| r.1 == l.1 + 3).map(|r| r.0);
                [l.0].into_iter().chain(again).chain(b.iter().filter(|r| r.1 == l.1).map(|r| r.0)).collect()
            };
            in_lines(a.iter().map(one).collect())
        }
        "sliding" | "empty-window" | "emitter" => in_lines(window_mills::expected(mill, a, b)),
        "skip" => in_lines(a.iter().map(|row| vec![row.0]).collect()),
        "late" => {
            let sorted = |rows: &[(i64, i64, i64)]| {
                let mut rows = displaced(rows);
                rows.sort_by_key(|row| row.1);
                rows
            };
            let (a, b) = (sorted(a), sorted(b));
            let one = |l: &(i64, i64, i64)| {
                [l.0].into_iter().chain(b.iter().filter(|r| r.1 == l.1).map(|r| r.0)).collect()
            };
            vec![lines(&saw(a.iter().map(one).collect())), Vec::new()]
        }
        "letters" => {
            let one = |l: &(i64, i64, i64)| {
                [l.0].into_iter().chain(b.iter().filter(|r| r.1 == l.1).map(|r| r.0)).collect()
            };
            // Of the letters, what names them.
            let letter = |stream: &str, kind: &str, number: usize| format!("{stream} {kind} {number}");
            let bad = (0..a.len()).filter(|index| index % 10 == 3);
            let low = (0..b.len()).filter(|index| index % 7 == 5);
            let undecodable =
                bad.enumerate().map(|(before, index)| letter("A", "syntax", index + before + 1));
            // The last right keys are not looked at when no master needs them.
            let end = a.last().map_or(0, |last| b.partition_point(|row| row.1 < last.1));
            let down = low.enumerate().filter(|(_, index)| *index < end);
            let down = down.map(|(before, index)| letter("B", "key_went_down", index + before + 1));
            vec![
                lines(&saw(a.iter().map(one).collect())),
                lines(&undecodable.chain(down).collect::<Vec<_>>()),
            ]
        }
        _ => return None,
    })
}
