//! torana as a process that is being looked at.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Longest wait for it to serve.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running torana; ended when dropped.
pub struct Torana {
    child: Child,
    /// Where its first listener is.
    pub address: SocketAddr,
    admin: SocketAddr,
}

impl Torana {
    /// Starts `program` in front of `uri`, listening on `port` and serving metrics on the port after it. Its log goes to `log`.
    pub fn start(program: &Path, uri: &str, port: u16, arguments: &[&str], log: &Path) -> Result<Torana> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, port + 1));
        let log = File::options().create(true).append(true).open(log).context("torana's log")?;
        // The kernel ends it even if this process is killed and cannot.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(["serve", uri]);
        command.args(["--listen", &address.to_string(), "--admin", &admin.to_string()]).args(arguments);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut torana = Torana { child, address, admin };
        torana.await_ready().context("starting torana")?;
        Ok(torana)
    }

    fn await_ready(&mut self) -> Result<()> {
        let until = Instant::now() + READY_WITHIN;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            if Instant::now() > until {
                bail!("not ready after {READY_WITHIN:?}");
            }
            sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The sum of the samples whose name and labels begin with `prefix`.
    pub fn metric(&self, prefix: &str) -> Result<f64> {
        let mut stream = TcpStream::connect(self.admin).context("the admin endpoint")?;
        stream.set_read_timeout(Some(READY_WITHIN))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let samples = text.lines().filter(|line| line.starts_with(prefix));
        Ok(samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }
}

impl Drop for Torana {
    fn drop(&mut self) {
        // It may have ended by itself, which is_alive told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
