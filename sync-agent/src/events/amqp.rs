//! A topic exchange of AMQP 0-9-1 (RabbitMQ): durable, with persistent messages whose routing key is the event's type, each
//! confirmed by the broker. Queues are their listeners' business: what no queue is bound for goes nowhere.

use async_trait::async_trait;
use futures::future::try_join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};

use super::broker::{Broker, Bus, NAME, Refused};
use crate::port::Outgoing;

/// Seconds between two signs of life, unless the address says so.
const HEARTBEAT: u16 = 10;

/// Written to disk by the broker before it is confirmed.
const PERSISTENT: u8 = 2;

/// A connected exchange.
pub(super) struct Exchange {
    /// Closed when it is dropped.
    _connection: Connection,
    channel: Channel,
    name: String,
}

/// Whether it is the address of a broker.
pub(super) fn speaks(url: &str) -> bool {
    url.parse::<AMQPUri>().is_ok_and(|uri| uri.scheme == AMQPScheme::AMQP)
}

impl Exchange {
    pub(super) async fn connect(bus: &Bus) -> Result<Exchange, Refused> {
        let mut uri: AMQPUri = bus.url.parse().map_err(|_| Refused("the address is none of a broker".to_owned()))?;
        uri.query.heartbeat = uri.query.heartbeat.or(Some(HEARTBEAT));
        let properties = ConnectionProperties::default().with_connection_name("ficus".into());
        let connection = Connection::connect_uri(uri, properties).await.map_err(refused)?;
        let channel = connection.create_channel().await.map_err(refused)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(refused)?;
        let name = bus.name.as_deref().unwrap_or(NAME).to_owned();
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(name.as_str().into(), ExchangeKind::Topic, durable, FieldTable::default()).await.map_err(refused)?;
        Ok(Exchange { _connection: connection, channel, name })
    }
}

#[async_trait]
impl Broker for Exchange {
    async fn publish(&mut self, wave: &[&Outgoing]) -> Result<(), Refused> {
        let mut confirms = Vec::with_capacity(wave.len());
        for event in wave {
            let properties = BasicProperties::default()
                .with_content_type("application/cloudevents+json".into())
                .with_delivery_mode(PERSISTENT)
                .with_message_id(event.id.as_str().into())
                .with_type(event.kind.as_str().into());
            let (exchange, key) = (self.name.as_str().into(), event.kind.as_str().into());
            let published =
                self.channel.basic_publish(exchange, key, BasicPublishOptions::default(), event.body.as_bytes(), properties).await;
            confirms.push(published.map_err(refused)?);
        }
        let confirmed = try_join_all(confirms).await.map_err(refused)?;
        if confirmed.iter().all(|confirmed| confirmed.is_ack()) {
            return Ok(());
        }
        Err(Refused("the broker did not take an event (disk or memory short?)".to_owned()))
    }
}

fn refused(error: lapin::Error) -> Refused {
    Refused(format!("AMQP: {error}"))
}
