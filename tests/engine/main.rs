//! One session fed by hand: exact times, exact bytes, one behaviour a test.

mod allowed_fast;
mod blame;
mod blocks;
mod choking;
mod dht;
mod disk;
mod finders;
mod floods;
mod greetings;
mod magnets;
mod names;
mod news;
mod openings;
mod pauses;
mod places;
mod rates;
mod requests;
mod scene;
mod selection;
mod super_seeding;
mod timing;
mod uploads;
