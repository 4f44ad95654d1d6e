//! Slack: messages by an incoming webhook, <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.

mod post;

pub use post::{Post, SlackPostOutput, SlackPostParams};
