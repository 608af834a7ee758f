//! Tests of the control messages and of the tables that wait for answers.

mod messages;
mod tables;
