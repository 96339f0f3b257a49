//! Streams whose keys are in different units: sound by the second, video by the millisecond, and a camera that only
//! numbers its pictures.
//!
//! What to look at:
//! - A key is calculated from fields, so that both sides of a join mean the same: `time_ms / 1000` is the second of a video
//!   frame, `frame_index * STILL_SECONDS + first_frame_seconds` that of a still.
//! - There are four video frames a second. All of them are joined: integer division makes their keys equal.
//! - `.left()` keeps the seconds without a still; their group is empty. A second without video is left out,
//!   since that join is an inner one.

use watermill::prelude::*;

/// The camera for stills takes one every two seconds.
const STILL_SECONDS: i64 = 2;

#[derive(Deserialize, StreamRecord)]
struct AudioFrame {
    time_seconds: i64,
    loudness: f64,
}

#[derive(Deserialize, StreamRecord)]
struct VideoFrame {
    time_ms: i64,
    brightness: f64,
}

#[derive(Deserialize, StreamRecord)]
struct Still {
    frame_index: i64,
    first_frame_seconds: i64,
    picture: String,
}

#[derive(Serialize, StreamRecord)]
struct AudioVideo {
    time_seconds: i64,
    loudness: f64,
    frames: usize,
    brightest: f64,
    still: Option<String>,
}

fn audio_video(
    audio: &AudioFrame,
    video: &Joined<AudioFrame, VideoFrame>,
    stills: &Joined<AudioFrame, Still>,
) -> AudioVideo {
    let video = &video[audio];
    AudioVideo {
        time_seconds: audio.time_seconds,
        loudness: audio.loudness,
        frames: video.len(),
        brightest: video.iter().map(|frame| frame.brightness).fold(0.0, f64::max),
        still: stills[audio].first().map(|still| still.picture.clone()),
    }
}

#[tokio::main]
async fn main() -> watermill::Result<()> {
    let files = JsonFileBroker::new()
        .read::<AudioFrame>("examples/data/audio.ndjson")
        .read::<VideoFrame>("examples/data/video.ndjson")
        .read::<Still>("examples/data/stills.ndjson")
        .write::<AudioVideo>("out/audio-video.ndjson");

    let second = AudioFrame::fields().time_seconds;
    let still_second = Still::fields().frame_index * STILL_SECONDS + Still::fields().first_frame_seconds;
    let report = Mill::new(audio_video)
        .join(JoinWith::new(second, VideoFrame::fields().time_ms / 1000))
        .join(JoinWith::new(second, still_second).left())
        .run(files)
        .await?;
    println!("{report}");
    Ok(())
}
