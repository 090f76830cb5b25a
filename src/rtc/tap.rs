//! Where RTP and RTCP leave the library's receive path.
//!
//! The last interceptor of a call: it hands Opus packets to the call's [`Inbox`] with the time they
//! were read from the socket, reads receiver reports and BYE, and lets nothing inbound go further,
//! so the library's own queues for media stay empty. Outbound packets pass untouched.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

use super::inbox::Inbox;
use super::{CloseReason, RtpIn};

/// Farther from the wire than every interceptor of the library.
pub(super) const SLOT: usize = 20_000;

/// See the module.
pub(super) struct Tap {
    inbox: Arc<Inbox>,
    /// The synchronisation source of our own packets.
    ssrc: u32,
    /// Passed on within the same call of the library, so never more than a few.
    outbound: VecDeque<TaggedPacket>,
}

impl Tap {
    pub(super) fn new(inbox: Arc<Inbox>, ssrc: u32) -> Self {
        Self { inbox, ssrc, outbound: VecDeque::new() }
    }

    fn reports(&self, reports: &[ReceptionReport]) {
        for report in reports.iter().filter(|report| report.ssrc == self.ssrc) {
            self.inbox.report(report.total_lost, report.fraction_lost, report.jitter);
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        match message.message.packet {
            Packet::Rtp(packet) if packet.header.payload_type == self.inbox.payload_type() => {
                self.inbox.packet(RtpIn {
                    sequence: packet.header.sequence_number,
                    timestamp: packet.header.timestamp,
                    marker: packet.header.marker,
                    payload: packet.payload,
                    arrived: message.now,
                });
            }
            Packet::Rtcp(packets) => {
                for packet in &packets {
                    let packet = packet.as_any();
                    if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
                        self.reports(&report.reports);
                    } else if let Some(report) = packet.downcast_ref::<SenderReport>() {
                        self.reports(&report.reports);
                    } else if packet.is::<Goodbye>() && !self.inbox.is_channel_held() {
                        // Browsers say BYE for a muted microphone too. A client with a data channel
                        // hangs up by closing that, so only one without is taken at its word.
                        self.inbox.end(CloseReason::Bye);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        None
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.outbound.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}
