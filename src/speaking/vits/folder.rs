//! The folder of a Hugging Face `VitsModel` in; its weights under the names of the published VITS
//! code, and its configuration, out.
//!
//! Reads `config.json`, `model.safetensors`, `vocab.json` and `tokenizer_config.json` as
//! transformers (models/vits) writes them; MMS-TTS voices come so. Weight normalisation is folded.
//! What the network here does not compute is refused with a sentence.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::safetensors::SliceSafetensors;
use candle_core::{DType, Device};
use serde::Deserialize;

use super::config::{Alphabet, Config, ConfigError, Scales, Symbols, rate, single};
use super::durations::{BINS, TAIL};
use super::onnx::Array;
use super::weights::{ConvShape, Missing, Weights};
use super::{LoadError, content, read as read_file};

/// `config.json`, as far as it matters here; defaults are transformers' `VitsConfig`'s.
#[derive(Deserialize)]
#[serde(default)]
struct Model {
    model_type: String,
    hidden_act: String,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    layer_norm_eps: f32,
    leaky_relu_slope: f32,
    use_stochastic_duration_prediction: bool,
    num_speakers: usize,
    upsample_rates: Vec<usize>,
    resblock_kernel_sizes: Vec<usize>,
    resblock_dilation_sizes: Vec<Vec<usize>>,
    depth_separable_channels: usize,
    duration_predictor_flow_bins: usize,
    duration_predictor_tail_bound: f32,
    duration_predictor_num_flows: usize,
    prior_encoder_num_flows: usize,
    prior_encoder_num_wavenet_layers: usize,
    wavenet_dilation_rate: usize,
    speaking_rate: f32,
    noise_scale: f32,
    noise_scale_duration: f32,
    sampling_rate: u32,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            hidden_act: "relu".into(),
            num_hidden_layers: 6,
            num_attention_heads: 2,
            layer_norm_eps: NORM_EPSILON,
            leaky_relu_slope: SLOPE,
            use_stochastic_duration_prediction: true,
            num_speakers: 1,
            upsample_rates: vec![8, 8, 2, 2],
            resblock_kernel_sizes: vec![3, 7, 11],
            resblock_dilation_sizes: vec![vec![1, 3, 5]; 3],
            depth_separable_channels: 2,
            duration_predictor_flow_bins: BINS,
            duration_predictor_tail_bound: TAIL,
            duration_predictor_num_flows: 4,
            prior_encoder_num_flows: 4,
            prior_encoder_num_wavenet_layers: 4,
            wavenet_dilation_rate: 1,
            speaking_rate: 1.0,
            noise_scale: 0.667,
            noise_scale_duration: 0.8,
            sampling_rate: 16_000,
        }
    }
}

/// What the network here computes with.
const NORM_EPSILON: f32 = 1e-5;
const SLOPE: f32 = 0.1;
/// The most layers of a kind a voice may have; published ones have at most 6.
const MOST_LAYERS: usize = 16;

/// `tokenizer_config.json`, likewise.
#[derive(Deserialize)]
#[serde(default)]
struct Tokenizer {
    language: Option<String>,
    add_blank: bool,
    normalize: bool,
    phonemize: bool,
    is_uroman: bool,
}

impl Default for Tokenizer {
    fn default() -> Self {
        Self { language: None, add_blank: true, normalize: true, phonemize: true, is_uroman: false }
    }
}

/// Reads a folder; the path is that of the file which holds the weights.
pub(super) fn read(folder: &Path) -> Result<(Weights, Config, PathBuf), LoadError> {
    let part = |name: &str| -> Result<(PathBuf, Vec<u8>), LoadError> {
        let path = folder.join(name);
        let bytes = read_file(&path)?;
        Ok((path, bytes))
    };
    let (path, bytes) = part("config.json")?;
    let model = model(&bytes).map_err(|error| content(&path, error))?;
    let (path, bytes) = part("vocab.json")?;
    let vocabulary = serde_json::from_slice(&bytes).map_err(|error| content(&path, error))?;
    let (path, bytes) = part("tokenizer_config.json")?;
    let tokenizer = serde_json::from_slice(&bytes).map_err(|error| content(&path, error))?;
    let (path, bytes) = part("model.safetensors")?;
    let arrays = arrays(&bytes).map_err(|error| content(&path, error))?;
    let weights = Weights::named(arrays, shapes(&model));
    agree(&model, &weights).map_err(|error| content(&path, error))?;
    let config = Config {
        sample_rate: model.sampling_rate,
        scales: Scales {
            noise: model.noise_scale,
            length: 1.0 / model.speaking_rate,
            duration_noise: model.noise_scale_duration,
        },
        symbols: symbols(vocabulary, tokenizer),
        speakers: Vec::new(),
    };
    Ok((weights, config, path))
}

/// `config.json`, of a network that is computed here.
fn model(json: &[u8]) -> Result<Model, ConfigError> {
    let model: Model = serde_json::from_slice(json)?;
    let few = [
        model.upsample_rates.len(),
        model.resblock_kernel_sizes.len(),
        model.resblock_dilation_sizes.iter().map(Vec::len).max().unwrap_or(0),
        model.num_hidden_layers,
        model.duration_predictor_num_flows,
        model.prior_encoder_num_flows,
        model.prior_encoder_num_wavenet_layers,
    ];
    let refused = [
        (model.model_type != "vits", "it is of no VITS model"),
        (model.hidden_act != "relu", "its `hidden_act` is not \"relu\""),
        (model.layer_norm_eps != NORM_EPSILON, "its `layer_norm_eps` is not 1e-5"),
        (model.leaky_relu_slope != SLOPE, "its `leaky_relu_slope` is not 0.1"),
        (model.depth_separable_channels != 2, "its `depth_separable_channels` are not 2"),
        (
            model.duration_predictor_flow_bins != BINS,
            "its `duration_predictor_flow_bins` are not 10",
        ),
        (
            model.duration_predictor_tail_bound != TAIL,
            "its `duration_predictor_tail_bound` is not 5",
        ),
        (
            few.into_iter().any(|count| count == 0 || count > MOST_LAYERS),
            "it has 0 or more than 16 layers of a kind",
        ),
        (
            model.resblock_kernel_sizes.len() != model.resblock_dilation_sizes.len(),
            "its `resblock_kernel_sizes` and `resblock_dilation_sizes` differ in number",
        ),
        (
            model.speaking_rate <= 0.0 || !model.speaking_rate.is_normal(),
            "its `speaking_rate` is no rate",
        ),
    ];
    match refused.into_iter().find(|(refuse, _)| *refuse) {
        Some((_, reason)) => Err(ConfigError::Unknown(reason)),
        None => rate(model.sampling_rate).map(|_| model),
    }
}

/// Characters, or espeak-ng's phonemes of English: transformers phonemizes no other language.
fn symbols(vocabulary: HashMap<String, u32>, tokenizer: Tokenizer) -> Symbols {
    let ids = vocabulary.into_iter().filter_map(|(token, id)| Some((single(&token)?, id)));
    // The blank is whatever token bears the number 0.
    let blank = tokenizer.add_blank.then_some(0);
    if tokenizer.phonemize {
        let mut ids: HashMap<char, Vec<u32>> = ids.map(|(char, id)| (char, vec![id])).collect();
        ids.remove(&'^');
        ids.remove(&'$');
        ids.insert('_', blank.into_iter().collect());
        return Symbols::Espeak { voice: "en-us".into(), ids };
    }
    Symbols::Characters(Alphabet {
        ids: ids.collect(),
        blank,
        ends: None,
        lower_case: tokenizer.normalize,
        romanised: tokenizer.is_uroman,
        language: tokenizer.language.unwrap_or_default(),
    })
}

/// What the weights do not say themselves: strides and dilations.
fn shapes(model: &Model) -> HashMap<String, ConvShape> {
    let mut shapes = HashMap::new();
    for (n, &stride) in model.upsample_rates.iter().enumerate() {
        shapes.insert(format!("dec.ups.{n}"), ConvShape { dilation: 1, stride });
        for (kernel, dilations) in model.resblock_dilation_sizes.iter().enumerate() {
            let block = n * model.resblock_dilation_sizes.len() + kernel;
            for (i, &dilation) in dilations.iter().enumerate() {
                let module = format!("dec.resblocks.{block}.convs1.{i}");
                shapes.insert(module, ConvShape { dilation, stride: 1 });
            }
        }
    }
    for n in 0..model.prior_encoder_num_flows {
        let mut dilation = 1;
        for i in 0..model.prior_encoder_num_wavenet_layers {
            let module = format!("flow.flows.{}.enc.in_layers.{i}", 2 * n);
            shapes.insert(module, ConvShape { dilation, stride: 1 });
            dilation = dilation.saturating_mul(model.wavenet_dilation_rate);
        }
    }
    shapes
}

/// Whether the weights are as many as the configuration says.
fn agree(model: &Model, weights: &Weights) -> Result<(), Missing> {
    let (ups, kernels) = (model.upsample_rates.len(), model.resblock_kernel_sizes.len());
    let mut counts = vec![
        ("enc_p.encoder.attn_layers".into(), "conv_q.weight", model.num_hidden_layers),
        ("dec.ups".into(), "weight", ups),
        ("dec.resblocks".into(), "convs1.0.weight", ups * kernels),
    ];
    for block in 0..ups * kernels {
        let dilations = model.resblock_dilation_sizes[block % kernels].len();
        counts.push((format!("dec.resblocks.{block}.convs1"), "weight", dilations));
        counts.push((format!("dec.resblocks.{block}.convs2"), "weight", dilations));
    }
    for n in 0..=model.prior_encoder_num_flows {
        let exists = n < model.prior_encoder_num_flows;
        let layers = if exists { model.prior_encoder_num_wavenet_layers } else { 0 };
        counts.push((format!("flow.flows.{}.enc.in_layers", 2 * n), "weight", layers));
    }
    if model.use_stochastic_duration_prediction {
        for n in 1..=model.duration_predictor_num_flows {
            weights.get(&format!("dp.flows.{}.proj.weight", 2 * n - 1), &[0, 0, 0])?;
        }
    } else {
        weights.get("dp.conv_1.weight", &[0, 0, 0])?;
    }
    for (prefix, suffix, count) in counts {
        if weights.count(&prefix, suffix) != count {
            return Err(Missing(format!("{prefix}.{count}.{suffix}")));
        }
    }
    if model.num_speakers > 1 {
        weights.get("emb_g.weight", &[model.num_speakers, 0])?;
    }
    let keys = weights.get("enc_p.encoder.attn_layers.0.emb_rel_k", &[1, 0, 0])?;
    let hidden = weights.get("enc_p.emb.weight", &[0, 0])?.dims[1];
    if keys.dims[2].checked_mul(model.num_attention_heads) != Some(hidden) {
        return Err(Missing("enc_p.encoder.attn_layers.0.emb_rel_k".into()));
    }
    Ok(())
}

/// All weights of a safetensors file that speaking needs, renamed, as `f32`.
fn arrays(bytes: &[u8]) -> Result<HashMap<String, Array>, candle_core::Error> {
    let file = SliceSafetensors::new(bytes)?;
    let mut arrays = HashMap::new();
    for (theirs, _) in file.tensors() {
        let Some(name) = renamed(&theirs) else { continue };
        let tensor = file.load(&theirs, &Device::Cpu)?.to_dtype(DType::F32)?;
        let mut dims = tensor.dims().to_vec();
        // Attention's products are convolutions of one tap in the published code.
        if name.starts_with("enc_p.encoder.attn_layers.") && name.ends_with(".weight") {
            dims.push(1);
        }
        let values = tensor.flatten_all()?.to_vec1()?;
        arrays.insert(name, Array { dims, values });
    }
    fold_norms(&mut arrays);
    Ok(arrays)
}

/// Direction and length of a weight become the weight: v · g / |v|, for each first index.
fn fold_norms(arrays: &mut HashMap<String, Array>) {
    let modules: Vec<String> =
        arrays.keys().filter_map(|name| name.strip_suffix(".weight_v")).map(String::from).collect();
    for module in modules {
        let lengths = arrays.remove(&format!("{module}.weight_g"));
        let directions = arrays.remove(&format!("{module}.weight_v"));
        let (Some(lengths), Some(mut weight)) = (lengths, directions) else { continue };
        let rows = weight.dims.first().copied().unwrap_or(0);
        if rows == 0 || weight.values.is_empty() || lengths.values.len() != rows {
            continue;
        }
        let size = weight.values.len() / rows;
        for (row, length) in weight.values.chunks_exact_mut(size).zip(&lengths.values) {
            let norm = row.iter().map(|value| f64::from(value * value)).sum::<f64>().sqrt();
            let factor = (f64::from(*length) / norm) as f32;
            row.iter_mut().for_each(|value| *value *= factor);
        }
        arrays.insert(format!("{module}.weight"), weight);
    }
}

/// A weight's name in the published code; `None` for those that only training needs.
fn renamed(theirs: &str) -> Option<String> {
    let theirs = theirs
        .replace(".parametrizations.weight.original0", ".weight_g")
        .replace(".parametrizations.weight.original1", ".weight_v");
    let (part, rest) = theirs.split_once('.')?;
    match part {
        "text_encoder" => encoder(rest),
        "flow" => {
            let (n, rest) = rest.strip_prefix("flows.")?.split_once('.')?;
            // Flips, which have no weights, count in between.
            let n = n.parse::<usize>().ok()?.checked_mul(2)?;
            let rest = rest.replace("wavenet.", "enc.").replace("conv_p", "p");
            Some(format!("flow.flows.{n}.{rest}"))
        }
        "decoder" => Some(format!("dec.{}", rest.replace("upsampler.", "ups."))),
        "duration_predictor" => durations(rest),
        "embed_speaker" => Some(format!("emb_g.{rest}")),
        _ => None,
    }
}

fn encoder(rest: &str) -> Option<String> {
    if let Some(rest) = rest.strip_prefix("encoder.layers.") {
        let (n, rest) = rest.split_once('.')?;
        let (part, rest) = rest.split_once('.')?;
        let (part, rest) = match part {
            "attention" => {
                let rest = match rest.split_once("_proj.") {
                    Some(("out", rest)) => format!("conv_o.{rest}"),
                    Some((which, rest)) => format!("conv_{which}.{rest}"),
                    None => rest.into(),
                };
                ("attn_layers", rest)
            }
            "layer_norm" => ("norm_layers_1", norm(rest)),
            "final_layer_norm" => ("norm_layers_2", norm(rest)),
            "feed_forward" => ("ffn_layers", rest.into()),
            _ => return None,
        };
        return Some(format!("enc_p.encoder.{part}.{n}.{rest}"));
    }
    let (part, rest) = rest.split_once('.')?;
    match part {
        "embed_tokens" => Some(format!("enc_p.emb.{rest}")),
        "project" => Some(format!("enc_p.proj.{rest}")),
        _ => None,
    }
}

fn durations(rest: &str) -> Option<String> {
    if rest.starts_with("post_") {
        return None;
    }
    let rest = rest.replace("convs_dilated", "convs_sep").replace("convs_pointwise", "convs_1x1");
    let rest = if rest.contains("norm") { norm(&rest) } else { rest };
    if let Some(rest) = rest.strip_prefix("flows.") {
        let (n, rest) = rest.split_once('.')?;
        let n = n.parse::<usize>().ok()?;
        // The elementwise step is first; then flips count in between.
        let n = if n == 0 { 0 } else { n.checked_mul(2)? - 1 };
        let rest = rest.replace("translate", "m").replace("log_scale", "logs");
        return Some(format!("dp.flows.{n}.{}", separable(&rest)));
    }
    Some(format!("dp.{}", separable(&rest)))
}

/// `conv_pre`, `conv_dds` and `conv_proj` under their names there.
fn separable(rest: &str) -> String {
    rest.replace("conv_pre", "pre").replace("conv_dds", "convs").replace("conv_proj", "proj")
}

/// A layer normalisation's weight and bias under their names there.
fn norm(rest: &str) -> String {
    match rest.rsplit_once("weight") {
        Some((before, _)) => format!("{before}gamma"),
        None => rest.replace("bias", "beta"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Array, HashMap, fold_norms, renamed};

    #[test]
    fn weights_get_the_names_of_the_published_code() {
        for (theirs, ours) in [
            ("text_encoder.embed_tokens.weight", "enc_p.emb.weight"),
            ("text_encoder.project.bias", "enc_p.proj.bias"),
            (
                "text_encoder.encoder.layers.3.attention.out_proj.weight",
                "enc_p.encoder.attn_layers.3.conv_o.weight",
            ),
            (
                "text_encoder.encoder.layers.0.final_layer_norm.weight",
                "enc_p.encoder.norm_layers_2.0.gamma",
            ),
            (
                "flow.flows.3.wavenet.in_layers.1.parametrizations.weight.original1",
                "flow.flows.6.enc.in_layers.1.weight_v",
            ),
            ("flow.flows.1.conv_post.bias", "flow.flows.2.post.bias"),
            ("decoder.upsampler.1.weight", "dec.ups.1.weight"),
            ("decoder.conv_pre.weight", "dec.conv_pre.weight"),
            ("duration_predictor.flows.0.log_scale", "dp.flows.0.logs"),
            (
                "duration_predictor.flows.4.conv_dds.norms_1.2.bias",
                "dp.flows.7.convs.norms_1.2.beta",
            ),
            ("duration_predictor.conv_dds.convs_dilated.0.bias", "dp.convs.convs_sep.0.bias"),
            ("duration_predictor.conv_1.weight", "dp.conv_1.weight"),
            ("duration_predictor.norm_2.weight", "dp.norm_2.gamma"),
            ("embed_speaker.weight", "emb_g.weight"),
        ] {
            assert_eq!(renamed(theirs).as_deref(), Some(ours));
        }
        assert_eq!(renamed("posterior_encoder.conv_pre.weight"), None);
        assert_eq!(renamed("duration_predictor.post_flows.0.translate"), None);
    }

    #[test]
    fn direction_and_length_become_the_weight() {
        let array =
            |dims: &[usize], values: &[f32]| Array { dims: dims.into(), values: values.into() };
        let mut arrays = HashMap::from([
            ("a.weight_v".into(), array(&[2, 1, 2], &[3.0, 4.0, 0.0, 2.0])),
            ("a.weight_g".into(), array(&[2, 1, 1], &[10.0, 1.0])),
        ]);
        fold_norms(&mut arrays);
        assert_eq!(arrays["a.weight"].values, [6.0, 8.0, 0.0, 1.0]);
    }
}
