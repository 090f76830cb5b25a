//! What the person asked for in; the device a voice runs on out.
//!
//! Knows nothing of voices.

use candle_core::Device;

/// Why there is no such device.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoDevice {
    /// The name is none.
    #[error("there is no device {0:?}: say auto, cpu, cuda, or cuda:1 for the second GPU")]
    Name(String),
    /// The program cannot use GPUs.
    #[error("this program was built without CUDA; build it with `make cuda`")]
    Build,
    /// The driver does not give the GPU.
    #[error("the GPU {number} cannot be used: {reason}; `--device cpu` runs without")]
    Driver {
        /// Its number.
        number: usize,
        /// What the driver says.
        reason: String,
    },
}

/// Finds a device: `cpu`; `cuda` or `cuda:N`, the NVIDIA GPU of that number, from 0; or `auto`, the
/// first GPU that there is, else the CPU.
pub fn pick(name: &str) -> Result<Device, NoDevice> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" => Ok(cuda(0).unwrap_or_else(|reason| {
            if reason != NoDevice::Build {
                tracing::info!(%reason, "the voice runs on the CPU");
            }
            Device::Cpu
        })),
        "cuda" => cuda(0),
        _ => {
            let number = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
            cuda(number.ok_or_else(|| NoDevice::Name(name.into()))?)
        }
    }
}

/// A device's name, for people and tables: `cpu`, `cuda:0`.
pub fn name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".into(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(_number: usize) -> Result<Device, NoDevice> {
    Err(NoDevice::Build)
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device, NoDevice> {
    let failed = |reason| NoDevice::Driver { number, reason };
    let device = Device::new_cuda_with_stream(number);
    let device = device.map_err(|error| failed(error.to_string()))?;
    if let Device::Cuda(cuda) = &device {
        // SAFETY: all work on this device goes through its one stream, in order; the events would
        // only order several streams.
        unsafe { cuda.disable_event_tracking() };
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::{NoDevice, name, pick};

    #[test]
    fn the_cpu_is_always_there() {
        for wanted in ["cpu", "auto"] {
            let device = pick(wanted).expect("there is always a device");
            assert!(device.is_cpu() || wanted == "auto");
        }
        assert_eq!(name(&pick("cpu").expect("the CPU")), "cpu");
    }

    #[test]
    fn a_device_that_is_not_there_is_refused_with_a_sentence() {
        for wanted in ["gpu", "cuda:", "cuda:x", "", "CPU"] {
            assert_eq!(pick(wanted).err(), Some(NoDevice::Name(wanted.into())));
        }
        if !cfg!(feature = "cuda") {
            assert_eq!(pick("cuda:1").err(), Some(NoDevice::Build));
        }
    }
}
