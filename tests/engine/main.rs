//! One session fed by hand: exact times, exact bytes, one behaviour a test.

mod blame;
mod blocks;
mod disk;
mod floods;
mod greetings;
mod names;
mod openings;
mod pauses;
mod rates;
mod requests;
mod scene;
mod selection;
mod timing;
mod uploads;
