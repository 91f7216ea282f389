//! The embedded proxy under raw sockets: what clients, upstreams and attackers send, byte by byte.

mod support;

mod routing;
