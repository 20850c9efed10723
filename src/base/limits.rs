//! Every cap and interval of the program, each with its reason.

use std::time::Duration;

/// Bytes of one block: what every client asks for at once (BEP 3 as practised).
pub const BLOCK: u32 = 16 * 1024;

/// The longest piece accepted: 512 MiB, twice the longest seen in the wild.
pub const PIECE_LENGTH_MAX: u32 = 512 << 20;

// ---------------------------------------------------------------------------------- torrent files

/// Largest .torrent read (`--max-torrent-size`): 1.5 million pieces.
pub const TORRENT_FILE_MAX: usize = 32 << 20;
/// Deepest nesting in a file: a BEP 52 file tree nests a level a directory.
pub const DEPTH_FILE: usize = 128;
/// Deepest nesting in anything a peer or tracker sent: nothing there needs more than four.
pub const DEPTH_NETWORK: usize = 32;
/// Trackers kept of one torrent; the rest are dropped with a warning.
pub const TRACKERS_MAX: usize = 50;
/// Longest tracker or web seed URL.
pub const URL_MAX: usize = 2048;
/// Longest name of a file or directory in bytes: what Linux file systems take.
pub const NAME_MAX: usize = 255;
/// Longest path within a torrent in bytes: Linux takes 4096, and the output directory stands before it.
pub const PATH_MAX: usize = 4000;
/// Deepest path within a torrent, in elements.
pub const PATH_DEPTH_MAX: usize = 100;
/// Files of one torrent that may be renamed because their paths clash; more is no accident.
pub const RENAMES_MAX: usize = 500;
/// Bytes of all paths of one torrent: 300 for each of 200,000 files. A long name that stands before each of
/// a million tiny entries would else multiply the file's size.
pub const PATHS_MAX: usize = 64 << 20;
/// Bytes kept of a text that is only shown (a comment).
pub const TEXT_MAX: usize = 64 * 1024;
/// Largest magnet link: ten thousand trackers fit.
pub const MAGNET_MAX: usize = 1 << 20;

// ------------------------------------------------------------------------------------------ peers

/// Peers connected at once, both directions together (`--max-peers`; the original's default).
pub const PEERS: usize = 12;
/// Connections being opened or greeted at once (`max_handshake_threads`).
pub const HALF_OPEN: usize = 30;
/// Addresses remembered a torrent (RELIABILITY: a hostile tracker names any number).
pub const ADDRESSES_MAX: usize = 1000;
/// Addresses taken from one announce.
pub const ADDRESSES_PER_ANNOUNCE: usize = 200;
/// Peers told of, or believed, in one message of the peer exchange (BEP 11).
pub const PEX_ADDED_MAX: usize = 50;
/// Bytes of availability messages that are kept of a peer while the metadata is not known.
pub const OPENING_MAX: usize = 512 * 1024;
/// A connect or a greeting that takes longer is given up.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause before an address is tried again; doubles with each failure.
pub const RECONNECT: Duration = Duration::from_secs(60);
/// Failures in a row after which an address is dropped.
pub const CONNECT_FAILURES_MAX: u32 = 3;
/// We say something at least this often: some clients close after 120 s, and their clocks differ from ours.
pub const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// A peer that has said nothing for so long is gone (twice the usual keep-alive).
pub const SILENCE_MAX: Duration = Duration::from_secs(240);
/// A connection over which neither side has wanted anything for so long is closed, keep-alives or not (as libtorrent).
pub const INACTIVE_MAX: Duration = Duration::from_secs(600);
/// A peer that takes none of our bytes for so long is closed.
pub const STUCK_SEND_MAX: Duration = Duration::from_secs(60);
/// A peer that has been of no use for so long makes room for an untried one.
pub const USELESS: Duration = Duration::from_secs(60);
/// Messages a second, requests and data not counted, that no honest peer comes near for long.
pub const FLOOD_RATE: u32 = 10_000;
/// Seconds of such a rate after which a peer is closed.
pub const FLOOD_SECONDS: u32 = 5;
/// Bytes of messages, blocks not counted, that may wait for a peer before it is read no more: it answers itself
/// for what it makes us say.
pub const CHATTER_MAX: usize = 256 * 1024;
/// Inbound connections from one public address: people share addresses, one attacker must not have all places.
pub const PER_HOST: usize = 4;
/// A greeting that is older makes room for a new one when there is none: an honest one needs a round trip.
pub const GREETING_GRACE: Duration = Duration::from_secs(2);
/// Bytes of never-asked-for data after which a peer is closed.
pub const UNREQUESTED_MAX: u64 = 1 << 20;

/// Largest `piece` message: a block and its header, rounded up.
pub const PIECE_MESSAGE_MAX: u32 = 17 * 1024;
/// Largest extension message (BEP 10): a PEX or metadata message is far smaller.
pub const EXTENDED_MESSAGE_MAX: u32 = 64 * 1024;

// ------------------------------------------------------------------------------------- the router

/// Connections begun a second: to peers, trackers and name servers together. A home router remembers each for
/// minutes, in a table of a few thousand that is slow when a third is full; other clients begin 18 to 30.
pub const CONNECTS: u32 = 20;
/// Of which at once: all that may be half-open, so that a start is not slower for it.
pub const CONNECTS_BURST: u32 = 30;
/// Datagrams sent a second: trackers, name servers, our queries in the DHT, and neighbourhood together. A hundred a second make cheap
/// routers lose those of others.
pub const DATAGRAMS: u32 = 50;
/// Of which at once.
pub const DATAGRAMS_BURST: u32 = 100;
/// Answers sent a second to strangers who ask in the DHT: a good node is asked five to twenty times a second. They
/// cost the router no new entry, as the question made it.
pub const ANSWERS: u32 = 25;
/// Of which at once.
pub const ANSWERS_BURST: u32 = 25;
/// Queries of the DHT that wait for their turn: four seconds' worth; what is older is lost, as on any network.
pub const DATAGRAMS_HELD: usize = 200;

// --------------------------------------------------------------------------------------- pipeline

/// Requests in flight to a new peer.
pub const PIPELINE_START: usize = 32;
/// Requests in flight to a peer that names no `reqq`.
pub const PIPELINE_DEFAULT_MAX: usize = 500;
/// The `reqq` we advertise, as libtorrent and Transmission do; larger ones of peers are clamped to it.
pub const REQQ: usize = 2000;
/// Requests in flight to a peer that is known to be slow: more would lay claim to pieces that others could bring sooner.
pub const PIPELINE_MIN: usize = 8;
/// Seconds of a peer's rate that are kept in flight.
pub const PIPELINE_SECONDS: u64 = 3;
/// Shortest and longest time a request may take.
pub const REQUEST_TIMEOUT_MIN: Duration = Duration::from_secs(2);
/// See [`REQUEST_TIMEOUT_MIN`].
pub const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// A peer that can't finish a piece in so long gets help from others.
pub const SLOW_PIECE: Duration = Duration::from_secs(20);
/// A peer that refuses requests without choking us, and gives nothing in between, is asked nothing for so long.
pub const REFUSED_REST: Duration = Duration::from_secs(1);
/// After a choke, a piece is kept so long for the peer that began it.
pub const KEPT_FOR_CHOKER: Duration = Duration::from_secs(30);

// ----------------------------------------------------------------------------------------- upload

/// Regular upload slots of a torrent; one more goes to the optimistic unchoke.
pub const UPLOAD_SLOTS: usize = 4;
/// Regular upload slots of all torrents together, of which each has one at least: on an uplink that is cut into more,
/// none carries a piece in good time.
pub const UPLOAD_SLOTS_ALL: usize = 8;
/// Upload slots added to those at most, one a round, while the uplink is not full.
pub const UPLOAD_SLOTS_MORE: usize = 28;
/// Everybody is told of new pieces at most so often, but for those that can act on them at once. Other clients take up
/// to ten seconds; with this the last of a swarm behind a super seed, which waits for such news, is through as soon as with
/// one second (`tests/sim/swarm`).
pub const NEWS_EVERY: Duration = Duration::from_secs(4);
/// New pieces of which everybody is told sooner: as many as one packet carries.
pub const NEWS_MAX: usize = 128;
/// A round of the choker.
pub const CHOKE_ROUND: Duration = Duration::from_secs(10);
/// A peer that owes us blocks for so long gets no regular slot.
pub const SNUBBED: Duration = Duration::from_secs(60);
/// How long an optimistic unchoke lasts.
pub const OPTIMISTIC: Duration = Duration::from_secs(30);
/// Bytes queued for a peer's socket before more of its requests are turned into data.
pub const OUTBOX_MAX: usize = 256 * 1024;
/// The same for a slow peer, and at first: what is queued can't be cancelled any more.
pub const OUTBOX_MIN: usize = 2 * BLOCK as usize;
/// Seconds of a peer's rate that may be queued for its socket between those.
pub const OUTBOX_SECONDS: u64 = 3;
/// Pieces that a choked newcomer is allowed (BEP 6 suggests ten).
pub const ALLOWED_FAST: u32 = 10;
/// One piece in so many of a torrent is allowed at most: a choke must still mean something.
pub const ALLOWED_FAST_PART: u32 = 8;
/// A piece that was shown to one peer by a super seed (BEP 16) is shown to another after so long without a byte.
pub const SHOWN_IN_VAIN: Duration = Duration::from_secs(60);
/// Pieces that a peer is told of in a sweep when a super seed becomes an ordinary one: a peer counts floods.
pub const TOLD_AT_ONCE: usize = 1000;

// ------------------------------------------------------------------------------------- the engine

/// The sweep: dialling, deadlines, refilling pipelines.
pub const SWEEP: Duration = Duration::from_millis(500);
/// The sweep while nothing is in flight and nobody is being greeted.
pub const SWEEP_IDLE: Duration = Duration::from_secs(5);
/// How long a stopped session may say goodbye to its trackers.
pub const GOODBYE: Duration = Duration::from_secs(2);
/// A torrent whose disk failed is tried again after so long.
pub const DISK_RETRY: Duration = Duration::from_secs(10);
/// Times a piece may fail its hash before it rests.
pub const PIECE_FAILURES_MAX: u32 = 5;
/// How long such a piece rests.
pub const PIECE_REST: Duration = Duration::from_secs(60);

// ---------------------------------------------------------------------------------------- trackers

/// Shortest, usual and longest time between announces.
pub const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// See [`INTERVAL_MIN`].
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(1800);
/// See [`INTERVAL_MIN`].
pub const INTERVAL_MAX: Duration = Duration::from_secs(86_400);
/// Peers asked for in an announce.
pub const NUMWANT: u32 = 200;
/// Largest head of an HTTP reply.
pub const HTTP_HEAD_MAX: usize = 16 * 1024;
/// Largest body of a tracker's reply.
pub const HTTP_BODY_MAX: usize = 1 << 20;
/// Largest body that is unpacked if it is a gzip: far more than the peers of an announce need, and little enough that
/// it and what comes out of it do not cost twice the memory of a plain reply.
pub const HTTP_GZIP_MAX: usize = 256 * 1024;

// ------------------------------------------------------------------------------------------- names

/// Longest name that is looked up, without a dot at its end (RFC 1035: 255 bytes on the wire).
pub const DNS_NAME_MAX: usize = 253;
/// Longest label of a name (RFC 1035).
pub const DNS_LABEL_MAX: usize = 63;
/// How long a name server has for its first answer; doubles with each round through the servers.
pub const DNS_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long a lookup may take in all: what a tracker has to answer (RELIABILITY F1).
pub const DNS_DEADLINE: Duration = Duration::from_secs(10);
/// How long the other family of addresses is waited for when one is there: RFC 8305 names 50 ms, for a browser.
pub const DNS_GRACE: Duration = Duration::from_millis(200);
/// How long a name server that was silent is not asked first.
pub const DNS_AVOID: Duration = Duration::from_secs(60);
/// Rounds through the name servers.
pub const DNS_ATTEMPTS: u32 = 3;
/// Name servers that are used, as by the C library.
pub const DNS_SERVERS_MAX: usize = 3;
/// Suffixes of a search list that are tried, as by the C library.
pub const DNS_SEARCH_MAX: usize = 6;
/// Lookups that are still waiting for their first answer; others queue behind them.
pub const DNS_LOOKUPS_FRESH: usize = 16;
/// Lookups in flight with those whose servers are slow: each may hold two sockets.
pub const DNS_LOOKUPS_MAX: usize = 64;
/// Names that may queue.
pub const DNS_QUEUE_MAX: usize = 1024;
/// Addresses kept of a name.
pub const DNS_ADDRESSES_MAX: usize = 16;
/// Aliases followed from a name.
pub const DNS_ALIASES_MAX: usize = 8;
/// Records looked at in one answer; the rest of a long one is not even decoded.
pub const DNS_RECORDS_MAX: u16 = 256;
/// Names remembered with their answers.
pub const DNS_CACHE_MAX: usize = 256;
/// Shortest and longest time an answer is remembered, whatever its server says.
pub const DNS_TTL_MIN: Duration = Duration::from_secs(5);
/// See [`DNS_TTL_MIN`].
pub const DNS_TTL_MAX: Duration = Duration::from_secs(3600);
/// How long "no such name" is remembered if the server doesn't say, and at most.
pub const DNS_NEGATIVE_TTL: Duration = Duration::from_secs(30);
/// See [`DNS_NEGATIVE_TTL`].
pub const DNS_NEGATIVE_TTL_MAX: Duration = Duration::from_secs(300);
/// How long addresses are remembered if only one of the two questions was answered.
pub const DNS_PARTIAL_TTL_MAX: Duration = Duration::from_secs(60);
/// How long a failure of the servers is remembered: a storm of equal questions is spared, no more.
pub const DNS_FAILURE_TTL: Duration = Duration::from_secs(5);
/// The system's configuration is read again at most so often.
pub const DNS_CONFIG_EVERY: Duration = Duration::from_secs(5);
/// Bytes of a hosts file that are kept; block lists can be longer.
pub const HOSTS_MAX: usize = 1 << 20;

// --------------------------------------------------------------------------------------------- TLS

/// Bytes that wait to be encrypted or sent on one TLS connection.
pub const TLS_PENDING_MAX: usize = 64 * 1024;
/// TLS sessions remembered, so that the next request to a host costs one signature less.
pub const TLS_SESSIONS_MAX: usize = 32;
/// Places that the DHT begins at (BEP 5): the well-known ones are four, a torrent or a person may name more.
pub const DHT_ROUTERS_MAX: usize = 16;
/// How often the DHT's nodes are saved, so that a kill costs little and a flash card is spared.
pub const DHT_SAVE_EVERY: Duration = Duration::from_secs(30 * 60);
/// How soon they are saved first: by then a table is as good as full.
pub const DHT_SAVE_FIRST: Duration = Duration::from_secs(120);
