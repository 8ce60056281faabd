//! Tags in ZooKeeper, beside the horizon: `ROOT/tags`, a line for each.

use zookeeper_async::{Acl, CreateMode, ZkError};

use super::zookeeper::{MarkError, ZooKeeper};
use crate::config::{Pattern, Tag, TagError};

/// The first line of the node.
const MARK: &str = "torana tags 1";

/// The longest list, bytes: ZooKeeper takes nodes of 1 MiB.
const LENGTH_MAX: usize = 512 * 1024;

/// How often a change is tried while others change the same node.
const ATTEMPTS: usize = 20;

/// Why the tags in ZooKeeper are not taken up.
#[derive(Debug, thiserror::Error)]
pub enum TagsError {
    /// No answer, or no connection: the session is over.
    #[error("{0:#}")]
    Session(anyhow::Error),
    /// Bytes that torana did not write.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// A line that is no tag, to this version of torana.
    #[error("a tag in ZooKeeper is not understood: {0}")]
    Tag(#[from] TagError),
}

impl ZooKeeper {
    /// The tags that stand in ZooKeeper; none if none were ever said there.
    pub async fn tags(&mut self) -> Result<Vec<Tag>, TagsError> {
        Ok(self.look_at_tags().await?.map_or(Vec::new(), |(tags, _)| tags))
    }

    async fn look_at_tags(&mut self) -> Result<Option<(Vec<Tag>, i32)>, TagsError> {
        let (client, path) = (self.client(), self.tags_path());
        match self.call(client.get_data(&path, false)).await.map_err(TagsError::Session)? {
            Ok((data, stat)) => {
                let foreign = || MarkError { path: path.clone(), length: data.len() };
                let text = std::str::from_utf8(&data).map_err(|_| foreign())?;
                Ok(Some((decode(text).ok_or_else(foreign)??, stat.version)))
            }
            Err(ZkError::NoNode) => Ok(None),
            Err(error) => Err(TagsError::Session(anyhow::anyhow!("{path}: {error}"))),
        }
    }

    /// Gives `pattern` a tag, or takes the one that it has here away; returns the tags of then. A change by somebody
    /// else at the same time is not lost.
    pub async fn change_tag(&mut self, pattern: &Pattern, tag: Option<Tag>) -> Result<Vec<Tag>, TagsError> {
        let session = |text: String| TagsError::Session(anyhow::anyhow!(text));
        for _ in 0..ATTEMPTS {
            let seen = self.look_at_tags().await?;
            let (mut tags, version) = seen.map_or((Vec::new(), None), |(tags, at)| (tags, Some(at)));
            tags.retain(|other| other.pattern != *pattern);
            tags.extend(tag.clone());
            tags.sort_by(|one, other| one.pattern.cmp(&other.pattern));
            let data = encode(&tags).into_bytes();
            if data.len() > LENGTH_MAX {
                return Err(session(format!("{} tags are too many for one node", tags.len())));
            }
            let (client, path) = (self.client(), self.tags_path());
            let changed = match version {
                Some(version) => {
                    let setting = client.set_data(&path, data, Some(version));
                    self.call(setting).await.map_err(TagsError::Session)?.map(drop)
                }
                None => {
                    self.create_above(&path).await.map_err(TagsError::Session)?;
                    let acl: Vec<Acl> = Acl::open_unsafe().clone();
                    let creating = client.create(&path, data, acl, CreateMode::Persistent);
                    self.call(creating).await.map_err(TagsError::Session)?.map(drop)
                }
            };
            match changed {
                Ok(()) => return Ok(tags),
                Err(ZkError::BadVersion | ZkError::NodeExists | ZkError::NoNode) => {}
                Err(error) => return Err(session(format!("{path}: {error}"))),
            }
        }
        Err(session("others change the tags all the time".to_owned()))
    }
}

fn encode(tags: &[Tag]) -> String {
    let line = |tag: &Tag| format!("{}={}\n", tag.pattern, tag.level);
    std::iter::once(format!("{MARK}\n")).chain(tags.iter().map(line)).collect()
}

/// `None` if torana did not write it.
fn decode(text: &str) -> Option<Result<Vec<Tag>, TagError>> {
    let tags = text.strip_prefix(MARK)?.strip_prefix('\n')?;
    Some(tags.lines().map(str::parse).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_are_read_as_they_were_written() {
        let tags: Vec<Tag> = ["a.b=causal", "a.x=y*=default", "parse._Join:a:B=sequential"]
            .map(|tag| tag.parse().unwrap())
            .into();
        assert_eq!(decode(&encode(&tags)).unwrap().unwrap(), tags);
        assert_eq!(decode(&encode(&[])).unwrap().unwrap(), []);
        assert!(decode("torana tags 1\na.b=unheard\n").unwrap().is_err());
        assert!(decode("torana tags 2\n").is_none() && decode("").is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = decode(&text);
            let _ = decode(&format!("{MARK}\n{text}"));
        }
    }
}
