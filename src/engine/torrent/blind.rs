//! A torrent whose metadata is not known yet, and the extension messages that bring it (BEP 9, 10, 11).
//!
//! Until it is known how many pieces there are, nothing a peer says of its pieces can be judged: these messages
//! are kept as they came, bounded, and judged when the torrent has been described and checked.

use super::metadata::{Collector, Outcome, PIECE};
use super::swarm::Origin;
use super::{Context, Order, Torrent, Why};
use crate::base::ids::Piece;
use crate::base::limits;
use crate::engine::io::{ConnId, Event, Output};
use crate::engine::peer::Peer;
use crate::engine::peer::inbox::Inbox;
use crate::wire::extension::{self, ExtensionHandshake};
use crate::wire::message::Message;
use crate::wire::ut_metadata::MetadataMessage;

impl Torrent {
    /// Handles a message while the torrent's pieces are not known.
    pub(super) fn handle_blind(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnId,
        peer: &mut Peer,
        message: Message<'_>,
    ) -> Result<(), Why> {
        match message {
            Message::KeepAlive
            | Message::Suggest(_)
            | Message::Unknown(_)
            | Message::Cancel(_)
            | Message::Reject(_) => {}
            Message::Port(port) => self.handle_port(cx, peer, port),
            Message::Choke => peer.choking_us = true,
            Message::Unchoke => peer.choking_us = false,
            Message::Interested => peer.interested_in_us = true,
            Message::NotInterested => peer.interested_in_us = false,
            Message::Have(_)
            | Message::Bitfield(_)
            | Message::HaveAll
            | Message::HaveNone
            | Message::AllowedFast(_) => {
                message.encode(&mut peer.opening);
                if peer.opening.len() > limits::OPENING_MAX {
                    return Err("peer.flood");
                }
            }
            Message::Request(block) => {
                if peer.fast() {
                    peer.send(cx.now, Message::Reject(block));
                }
            }
            Message::Extended { id, payload } => {
                self.handle_extended(cx, conn, peer, id, payload)?;
            }
            Message::Piece { .. } => return Err("peer.internal: piece in the wrong door"),
        }
        Ok(())
    }

    /// The torrent is described and checked: says what we have, and judges what the peer had said.
    pub fn open_eyes(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnId,
        peer: &mut Peer,
    ) -> Result<(), Why> {
        self.reset_availability(peer);
        // The peer was told that we have nothing.
        self.pieces
            .have()
            .iter()
            .for_each(|piece| peer.send(cx.now, Message::Have(piece)));
        let opening = std::mem::take(&mut peer.opening);
        let bitfield_len = self.bitfield_len();
        let mut rest = &opening[..];
        while let Ok(Some(frame)) = Inbox::frame(rest, bitfield_len) {
            self.handle_message(cx, conn, peer, frame.message)?;
            rest = &rest[frame.used..];
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err("peer.bitfield: length")
        }
    }

    /// Asks a peer for a piece of the metadata, if there is one to ask it for.
    pub fn ask_metadata(&mut self, cx: &Context<'_>, conn: ConnId, peer: &mut Peer) {
        let (Some(collector), Some(id)) = (&mut self.collector, peer.ut_metadata) else {
            return;
        };
        if let Some(piece) = collector.ask(cx.now, conn) {
            let payload = MetadataMessage::Request {
                piece: i64::from(piece),
            }
            .encode();
            peer.send(
                cx.now,
                Message::Extended {
                    id,
                    payload: &payload,
                },
            );
        }
    }

    /// Handles a message of the extension protocol, known torrent or not.
    pub(super) fn handle_extended(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnId,
        peer: &mut Peer,
        id: u8,
        payload: &[u8],
    ) -> Result<(), Why> {
        match id {
            0 => {
                let theirs = ExtensionHandshake::decode(payload).map_err(|_| "peer.extension")?;
                self.handle_their_handshake(cx, conn, peer, theirs);
            }
            extension::UT_METADATA => {
                let message = MetadataMessage::decode(payload).map_err(|_| "peer.extension")?;
                self.handle_metadata(cx, conn, peer, message)?;
            }
            extension::UT_PEX if !self.metainfo.private => {
                let named = peer.pex.handle_message(cx.now, payload);
                self.swarm.add(named, Origin::Peer(peer.address.ip()));
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_their_handshake(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnId,
        peer: &mut Peer,
        theirs: ExtensionHandshake,
    ) {
        peer.client = theirs.client;
        peer.ut_pex = theirs.ut_pex;
        peer.ut_metadata = theirs.ut_metadata;
        peer.upload_only = theirs.upload_only;
        if let Some(reqq) = theirs.reqq {
            peer.pipeline.set_reqq(reqq);
        }
        if let Some(port) = theirs.port {
            // We dial back to the port it names, never to a source port.
            let address = std::net::SocketAddr::new(peer.address.ip(), port);
            peer.listens_at = Some(address);
            self.swarm.add([address], Origin::Peer(address.ip()));
            self.swarm.met(address);
        }
        if let (Some(collector), Some(_), Some(size)) = (
            &mut self.collector,
            theirs.ut_metadata,
            theirs.metadata_size,
        ) {
            if collector.handle_size(cx.now, conn, size) {
                self.ask_metadata(cx, conn, peer);
            } else {
                log::debug!("peer.metadata-size: {size} from {}", peer.address);
            }
        }
    }

    fn handle_metadata(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnId,
        peer: &mut Peer,
        message: MetadataMessage<'_>,
    ) -> Result<(), Why> {
        match message {
            MetadataMessage::Request { piece } => self.give_metadata(cx, peer, piece),
            MetadataMessage::Reject { .. } => {
                if let Some(collector) = &mut self.collector {
                    collector.handle_reject(cx.now, conn);
                }
            }
            MetadataMessage::Data {
                piece,
                total_size,
                data,
            } => {
                let Some(collector) = &mut self.collector else {
                    return Ok(());
                };
                match collector.handle_data(cx.now, conn, piece, total_size, data) {
                    Outcome::Progress => self.ask_metadata(cx, conn, peer),
                    Outcome::Complete(info) => {
                        self.collector = None;
                        let event = Event::Metadata {
                            torrent: self.id,
                            info,
                        };
                        cx.out.push_back(Output::Event(event));
                    }
                    Outcome::Guilty(_) => {
                        cx.orders
                            .push_back(Order::Ban(self.id, peer.address, Piece(0)));
                    }
                    Outcome::Faulty => return Err("peer.metadata"),
                }
            }
            MetadataMessage::Unknown => {}
        }
        Ok(())
    }

    /// Gives a piece of the metadata: twice the whole of it to one peer, not more.
    fn give_metadata(&self, cx: &Context<'_>, peer: &mut Peer, piece: i64) {
        let Some(id) = peer.ut_metadata else { return };
        let info = if self.is_described {
            self.metainfo.info()
        } else {
            &[]
        };
        let at = usize::try_from(piece)
            .ok()
            .and_then(|piece| piece.checked_mul(PIECE));
        let data = at.and_then(|at| info.get(at..info.len().min(at.saturating_add(PIECE))));
        let fair = peer.metadata_given < 2 * info.len() && peer.outbox.has_room(u64::MAX);
        let payload = match data.filter(|data| fair && !data.is_empty()) {
            Some(data) => {
                peer.metadata_given += data.len();
                let total_size = i64::try_from(info.len()).ok();
                MetadataMessage::Data {
                    piece,
                    total_size,
                    data,
                }
                .encode()
            }
            None => MetadataMessage::Reject { piece }.encode(),
        };
        peer.send(
            cx.now,
            Message::Extended {
                id,
                payload: &payload,
            },
        );
    }

    /// A collector for a torrent that has to be described first.
    pub(super) fn collector_of(info_hash: crate::base::ids::InfoHash) -> Collector {
        Collector::new(info_hash)
    }
}
