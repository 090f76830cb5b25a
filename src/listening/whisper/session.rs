//! One Whisper network at work: sound in, words out.
//!
//! A session belongs to one engine thread and uses no other: ggml's threads spin while they wait,
//! which costs more than they bring on a busy machine. It does the steps that whisper.cpp's
//! `whisper_full` does, one by one, so that it can stop between them, notice a runaway while it
//! happens, and hear the language without encoding twice.

use std::path::Path;
use std::sync::Arc;

use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperError,
    WhisperState, WhisperSysContext, WhisperSysState,
};

use super::decoding::{Decoding, Step, TIMESTAMPS_PER_SECOND, Token, Vocabulary};
use super::decoding::{likeliest, probability};
use super::text::{Certainty, spoken};
use crate::listening::mel::{HOP, LogMel};
use crate::listening::{LISTENING_RATE, Language, ListenError, Pass, StartError};

/// Whisper's window: what is longer loses its beginning.
const LONGEST: usize = 30 * LISTENING_RATE as usize;
/// Encoder steps (20 ms) in the whole window.
const WHOLE_CONTEXT: usize = 1500;
/// The encoder's context reaches this many steps beyond the sound: enough silence for the network
/// to see that the sound ends. With 64, one whole prompt in five ran away; with 96, none of 54.
const CONTEXT_MARGIN: usize = 96;
/// The same for sound that stops in the middle of a word: with 96, 4 of 57 ran away; with this,
/// none.
const CUT_CONTEXT_MARGIN: usize = 192;
/// The context is a multiple of this, which suits the matrix kernels.
const CONTEXT_GRAIN: usize = 32;
/// With this context even words cut in the middle hardly ever run away.
const SAFE_CONTEXT: usize = 512;
/// Sound whose loudest 20 ms lie below this (-60 dBFS) says nothing.
const INAUDIBLE: f32 = 0.001;
/// Languages of the multilingual networks up to version 2.
const LANGUAGES: i32 = 99;

/// The weights and words of one model, shared by its sessions.
pub struct Weights {
    context: WhisperContext,
    vocabulary: Vocabulary,
    start: Token,
    transcribe: Token,
    /// The language tokens, in the order of whisper.cpp's ids; empty for an English-only model.
    languages: Vec<Token>,
}

impl Weights {
    /// Loads a ggml file.
    pub fn load(path: &Path) -> Result<Self, StartError> {
        whisper_rs::install_logging_hooks();
        let broken = |reason: &str| StartError::about("Whisper", path, reason);
        check_header(path).map_err(broken)?;
        let mut parameters = WhisperContextParameters::new();
        parameters.use_gpu(false).flash_attn(false);
        let context = WhisperContext::new_with_params(path, parameters)
            .map_err(|_| broken("it is cut short or damaged"))?;
        if context.model_n_mels() != 80 {
            return Err(broken("it is a Whisper model with other than 80 mel bands"));
        }
        let languages = if context.is_multilingual() {
            (0..LANGUAGES).map(|id| context.token_lang(id)).collect()
        } else {
            Vec::new()
        };
        Ok(Self {
            vocabulary: vocabulary(&context),
            start: context.token_sot(),
            transcribe: context.token_transcribe(),
            languages,
            context,
        })
    }
}

/// Looks at the file before whisper.cpp does, which takes a file without weights for a model.
///
/// The header is the magic number and eleven numbers of 32 bits, of which the first is the size of
/// the vocabulary and the seventh the width of the decoder.
fn check_header(path: &Path) -> Result<(), &'static str> {
    use std::io::Read;
    let mut header = [0; 48];
    let mut file = std::fs::File::open(path).map_err(|_| "it cannot be opened")?;
    file.read_exact(&mut header).map_err(|_| "it is cut short")?;
    if !header.starts_with(b"lmgg") {
        return Err("it is not a ggml file");
    }
    let number = |i: usize| {
        let bytes = [header[i], header[i + 1], header[i + 2], header[i + 3]];
        u64::from(u32::from_le_bytes(bytes))
    };
    // The embedding alone, in the smallest format there is.
    let least = number(4) * number(28) / 2;
    let length = file.metadata().map_err(|_| "it cannot be read")?.len();
    if length < least { Err("it is cut short") } else { Ok(()) }
}

/// What stands for sounds rather than words (`non_speech_tokens` in whisper.cpp).
const NON_SPEECH: &str = "\" # ( ) * + / : ; < = > @ [ \\ ] ^ _ ` { | } ~ 「 」 『 』 << >> <<< >>> \
    -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪ ♩ ♪ ♫ ♬ ♭ ♮ ♯";

fn vocabulary(context: &WhisperContext) -> Vocabulary {
    let end = context.token_eot();
    let spelled = |token: Token| context.token_to_bytes(token).unwrap_or_default();
    let is_non_speech = |bytes: &[u8]| {
        let word = bytes.strip_prefix(b" ").unwrap_or(bytes);
        // Within a word a hyphen and an apostrophe are speech.
        matches!(bytes, b" -" | b" '") || NON_SPEECH.split(' ').any(|mark| mark.as_bytes() == word)
    };
    Vocabulary {
        end,
        timestamps: context.token_beg(),
        no_speech: context.token_nosp(),
        blank: (0..end).find(|&token| spelled(token) == b" "),
        non_speech: (0..end).filter(|&token| is_non_speech(spelled(token))).collect(),
    }
}

/// What a pass heard.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The words, trimmed; empty if nothing was said.
    pub text: String,
    /// The language spoken.
    pub language: Language,
    /// How sure the network was.
    pub certainty: Certainty,
}

impl Heard {
    fn nothing(language: Language) -> Self {
        let certainty = Certainty { no_speech: 1.0, mean: 0.0, mean_log: 0.0 };
        Self { text: String::new(), language, certainty }
    }
}

/// A network with the buffers of one pass at a time.
pub struct Session {
    weights: Arc<Weights>,
    state: WhisperState,
    mel: LogMel,
    /// The encoder context the state is set to.
    context: usize,
}

impl Session {
    /// Buffers for one more pass at a time over `weights`.
    pub fn new(weights: Arc<Weights>) -> Result<Self, WhisperError> {
        let state = weights.context.create_state()?;
        Ok(Self { weights, state, mel: LogMel::new(), context: 0 })
    }

    /// Listens to `sound`; `stopped` is asked between steps of at most a few ms, and once after
    /// the encoder, which cannot be stopped inside.
    pub fn pass(
        &mut self,
        sound: &[f32],
        language: Language,
        pass: Pass,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Heard, ListenError> {
        let sound = &sound[sound.len().saturating_sub(LONGEST)..];
        let language = if self.weights.languages.is_empty() { Language::En } else { language };
        if inaudible(sound) {
            return Ok(Heard::nothing(language));
        }
        let seconds = sound.len() as f32 / LISTENING_RATE as f32;
        let margin = match pass {
            Pass::Partial => CUT_CONTEXT_MARGIN,
            Pass::Final | Pass::Recording => CONTEXT_MARGIN,
        };
        let steps = (seconds * TIMESTAMPS_PER_SECOND).ceil() as usize + margin;
        let tight = steps.next_multiple_of(CONTEXT_GRAIN).min(WHOLE_CONTEXT);
        let (heard, ran_away) = self.attempt(sound, language, tight, true, stopped)?;
        if !ran_away {
            return Ok(heard);
        }
        // Partial words are not worth a second look: the caller keeps those it has.
        if pass == Pass::Partial {
            return Err(ListenError::Withdrawn);
        }
        let safe = tight.max(SAFE_CONTEXT);
        tracing::debug!(tight, safe, "a pass ran away");
        Ok(self.attempt(sound, language, safe, false, stopped)?.0)
    }

    /// One pass with `context` encoder steps; also says whether it ran away.
    fn attempt(
        &mut self,
        sound: &[f32],
        language: Language,
        context: usize,
        wary: bool,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(Heard, bool), ListenError> {
        let go_on = || if stopped() { Err(ListenError::Withdrawn) } else { Ok(()) };
        go_on()?;
        self.set_context(context).map_err(failed)?;
        let picture = self.mel.picture(sound, 2 * context);
        self.state.set_mel(&picture).map_err(failed)?;
        self.state.encode(0, 1).map_err(failed)?;
        go_on()?;
        let weights = self.weights.clone();
        let (language, no_speech, mut fed) = self.prompt(&weights, language)?;
        let seconds = sound.len() as f32 / LISTENING_RATE as f32;
        let mut decoding = Decoding::new(&weights.vocabulary, seconds, wary);
        let ran_away = loop {
            match decoding.step(self.state.get_logits().map_err(failed)?) {
                Step::Token(token) => {
                    go_on()?;
                    self.feed(token, &mut fed)?;
                }
                Step::End => break false,
                Step::Runaway => break true,
            }
        };
        let certainty = Certainty {
            no_speech,
            mean: decoding.mean_probability(),
            mean_log: decoding.mean_log_probability(),
        };
        let text = spoken(&written(&weights, decoding.text()), certainty);
        Ok((Heard { text, language, certainty }, ran_away))
    }

    /// Feeds the tokens that set the task, and finds out the language where it is not given.
    /// Returns it, the probability of no speech, and the number of tokens fed.
    fn prompt(
        &mut self,
        weights: &Weights,
        language: Language,
    ) -> Result<(Language, f32, usize), ListenError> {
        let mut fed = 0;
        self.feed(weights.start, &mut fed)?;
        let logits = self.state.get_logits().map_err(failed)?;
        let no_speech = probability(logits, weights.vocabulary.no_speech);
        if weights.languages.is_empty() {
            return Ok((Language::En, no_speech, fed));
        }
        let given = match language {
            Language::En => whisper_rs::get_lang_id("en"),
            Language::Fr => whisper_rs::get_lang_id("fr"),
            Language::Auto => None,
        };
        let id = given
            .map(|id| id as usize)
            .or_else(|| likeliest(logits, &weights.languages))
            .expect("a multilingual model has languages");
        let heard = match whisper_rs::get_lang_str(id as i32) {
            Some("en") => Language::En,
            Some("fr") => Language::Fr,
            _ => Language::Auto,
        };
        self.feed(weights.languages[id], &mut fed)?;
        self.feed(weights.transcribe, &mut fed)?;
        Ok((heard, no_speech, fed))
    }

    fn feed(&mut self, token: Token, fed: &mut usize) -> Result<(), ListenError> {
        self.state.decode(&[token], *fed, 1).map_err(failed)?;
        *fed += 1;
        Ok(())
    }

    /// Sets the encoder's context. whisper.cpp takes it only with a whole pass, so this begins one
    /// over a little silence and stops before its encoder.
    fn set_context(&mut self, context: usize) -> Result<(), WhisperError> {
        if self.context == context {
            return Ok(());
        }
        let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
        parameters.set_audio_ctx(context as i32);
        parameters.set_n_threads(1);
        parameters.set_language(Some("en"));
        // SAFETY: the callback takes no data and touches neither context nor state.
        unsafe { parameters.set_start_encoder_callback(Some(stop_before_the_encoder)) };
        self.state.full(parameters, &[0.0; LISTENING_RATE as usize / 5])?;
        self.context = context;
        Ok(())
    }
}

unsafe extern "C" fn stop_before_the_encoder(
    _: *mut WhisperSysContext,
    _: *mut WhisperSysState,
    _: *mut std::ffi::c_void,
) -> bool {
    false
}

fn failed(error: WhisperError) -> ListenError {
    ListenError::Model(error.to_string())
}

fn written(weights: &Weights, text: &[Token]) -> String {
    let mut bytes = Vec::new();
    for &token in text.iter().filter(|&&token| weights.vocabulary.is_text(token)) {
        bytes.extend_from_slice(weights.context.token_to_bytes(token).unwrap_or_default());
    }
    // A letter may be split over tokens, and its end may be missing.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether no 20 ms of `sound` are loud enough to hold speech.
fn inaudible(sound: &[f32]) -> bool {
    let window = LISTENING_RATE as usize / 50;
    sound.chunks(window).all(|chunk| {
        let power: f32 = chunk.iter().map(|s| s * s).sum::<f32>() / chunk.len() as f32;
        power.sqrt() < INAUDIBLE
    })
}

// The picture's frames and the encoder's steps must keep their ratio: two frames make one step.
const _: () = assert!(HOP * 2 * TIMESTAMPS_PER_SECOND as usize == LISTENING_RATE as usize);
