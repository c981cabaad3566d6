//! The control side of the engine: takes what is wanted, publishes it to the workers, and tells what they do.

use crate::{
    Capacity, CapacityError, ModelError, WorkerCounters,
    claims::Claims,
    local::{Local, Standing},
    lvs::{
        self, Estimator, Marks, Notes, Roll, Roster, Services, Synchronizer, Tallies, Timeouts,
        TrafficCells,
    },
    model::{Desired, Interface, ServiceKey, Settings},
    neighbour::{NeighbourTable, NeighbourView, Resolved},
    net::Net,
    overload::Overload,
    pins::{self, Pins},
    reassembly::{Look, Reassembly},
    role::{Floating, Roles},
    shared::Shared,
    snapshot::Snapshot,
    views::{Applied, ConnectionView, Flooded, RouteView, ServiceView, Traffic},
    virtual_mac::VirtualMacs,
    worker::Worker,
};
use flowtable::{Aside, Table};
use hashbrown::HashMap;
use rcu::{Domain, Published};
use std::{
    any::Any,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use types::{InterfaceId, MacAddr, ServerId, ServiceId, Tick, WorkerId};
use wire::Frame;

/// What of a worker the control side keeps.
#[derive(Debug)]
struct WorkerShare {
    counters: Arc<WorkerCounters>,
    traffic: Arc<TrafficCells>,
    tallies: Arc<Tallies>,
    notes: Arc<Notes>,
    standing: Standing,
    taken: bool,
}

/// The rates' clock, and the director's own figures.
#[derive(Debug, Default)]
struct Estimates {
    /// When the next step is due.
    due: Option<Tick>,
    /// What all slots held when all figures were zeroed.
    base: Traffic,
    estimator: Estimator,
}

/// The control side. One per process, used by one thread.
#[derive(Debug)]
pub struct Director {
    shared: Arc<Shared>,
    workers: Vec<WorkerShare>,
    roll: Roll,
    marks: Arc<Marks>,
    applied: Desired,
    flush: lvs::Flush,
    estimates: Estimates,
    overload: Overload,
    /// The slots of services, and what was counted there of others' floods before.
    flooded: HashMap<ServiceKey, (ServiceId, Flooded)>,
    /// Neighbours kept resolved for servers and gateways.
    pins: Pins,
    /// `Reassembly<F>` of the workers' kind of frame, once there is one; and the same, to be looked at.
    reassembly: Option<(Arc<dyn Any + Send + Sync>, Arc<dyn Look>)>,
    hash_key: [u64; 2],
    capacity: Capacity,
}

impl Director {
    /// A director that forwards nothing yet. `hash_key` should be secret and random: it keeps senders from aiming at one
    /// place of the tables.
    ///
    /// # Errors
    /// When there is no memory for the capacity, or it makes no sense.
    pub fn new(capacity: Capacity, hash_key: [u64; 2]) -> Result<Self, CapacityError> {
        if capacity.workers == 0 {
            return Err(CapacityError::NoWorkers);
        }
        // The workers, and who synchronises connections.
        let domain = Domain::new(usize::from(capacity.workers) + 1);
        let snapshot = Snapshot {
            net: Net::default(),
            services: Services::default(),
            marks: Arc::default(),
            gates: Arc::default(),
            cookies: Arc::default(),
            local: Box::default(),
            floating: Floating::default(),
            virtual_macs: VirtualMacs::default(),
            settings: Settings::default(),
            timeouts: Timeouts::new(&Settings::default()),
            milestones: None,
        };
        let connections4 = Table::new(capacity.connections4, hash_key, Arc::clone(&domain))?;
        let connections6 = Table::new(capacity.connections6, hash_key, Arc::clone(&domain))?;
        let shared = Shared {
            aside4: Aside::new(&connections4)?,
            aside6: Aside::new(&connections6)?,
            secret: lvs::Secret::new(hash_key),
            snapshot: Published::new(Arc::clone(&domain), snapshot),
            neighbours: NeighbourTable::new(capacity.neighbours, hash_key),
            connections4,
            connections6,
            roster: Roster::new(capacity.services, capacity.servers)
                .with_room(capacity.ftp_connections(), capacity.sip_calls()),
            roles: Arc::default(),
            claims: Claims::default(),
            watch: Arc::default(),
            defences: lvs::Defences::default(),
            clients: lvs::Clients::default(),
            resets: lvs::Resets::default(),
            domain,
        };
        let share = |_| WorkerShare {
            counters: Arc::new(WorkerCounters::new(capacity.ports.into())),
            traffic: Arc::new(TrafficCells::new(capacity.servers)),
            tallies: Arc::new(Tallies::new(capacity.services)),
            notes: Arc::default(),
            standing: Standing::default(),
            taken: false,
        };
        Ok(Self {
            shared: Arc::new(shared),
            workers: (0..capacity.workers).map(share).collect(),
            roll: Roll::new(capacity.services, capacity.servers),
            applied: Desired::default(),
            marks: Arc::default(),
            flush: lvs::Flush::default(),
            estimates: Estimates::default(),
            overload: Overload::new(capacity.workers.into()),
            flooded: HashMap::new(),
            pins: Pins::default(),
            reassembly: None,
            hash_key,
            capacity,
        })
    }

    /// Has the kernel back the connection tables whole now, instead of page by page under the first packets that need them. False
    /// if it cannot: then it goes on as without.
    pub fn populate(&self) -> bool {
        self.shared.connections4.populate() & self.shared.connections6.populate()
    }

    /// The worker of that number, to be moved to its thread. `None` if there is none or it was taken already. All workers handle
    /// one kind of frame.
    pub fn worker<F: Frame + Send + 'static>(&mut self, id: WorkerId) -> Option<Worker<F>> {
        let shares = self.workers.len();
        let share = self.workers.get_mut(id.index()).filter(|s| !s.taken)?;
        let reader = self.shared.domain.reader()?;
        share.taken = true;
        let hand = (u32::from(id.0), u32::try_from(shares).ok()?);
        let counters = Arc::clone(&share.counters);
        let cells = (Arc::clone(&share.traffic), Arc::clone(&share.tallies));
        let key = self.hash_key;
        let (reassembly, _) = self.reassembly.get_or_insert_with(|| {
            let new = Arc::new(Reassembly::<F>::new(key));
            (Arc::clone(&new) as _, new as _)
        });
        let reassembly = Arc::clone(reassembly);
        let reassembly = reassembly.downcast().ok()?;
        let (notes, standing) = (Arc::clone(&share.notes), share.standing.clone());
        let relief = self.overload.relief(id.index())?;
        let local = Local::new(
            counters,
            cells,
            (notes, relief),
            standing,
            reassembly,
            &self.shared,
            hand,
        );
        Some(Worker::new(Arc::clone(&self.shared), reader, local))
    }

    /// How the workers stand that are past their capacity.
    #[must_use]
    pub const fn overload(&self) -> &Overload {
        &self.overload
    }

    /// Likewise, to be judged.
    pub const fn overload_mut(&mut self) -> &mut Overload {
        &mut self.overload
    }

    /// How each worker's own bounds stand.
    pub(crate) fn standing(&self) -> impl Iterator<Item = &Standing> {
        self.workers.iter().map(|share| &share.standing)
    }

    /// Fragments held by all workers.
    pub(crate) fn fragments(&self) -> Option<&dyn Look> {
        self.reassembly.as_ref().map(|(_, look)| &**look)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) const fn hash_key(&self) -> [u64; 2] {
        self.hash_key
    }

    pub(crate) const fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// Makes `desired` the state of the director: all of it, or nothing. Connections, counters and the schedulers' walks
    /// of what stays the same go on; workers go by it from their next burst.
    ///
    /// # Errors
    /// Every mistake there is; nothing has changed then.
    pub fn apply(&mut self, now: Tick, desired: &Desired) -> Result<Applied, Vec<ModelError>> {
        self.settle();
        let (net, mut errors) = match Net::compile(desired, &lvs::vips(desired)) {
            Ok(net) => (Some(net), Vec::new()),
            Err(errors) => (None, errors),
        };
        let without_vips = || {
            // A wrong VIP does not keep the servers' addresses from being checked.
            let bare = Desired {
                interfaces: desired.interfaces.clone(),
                routes: desired.routes.clone(),
                ..Desired::default()
            };
            Net::compile(&bare, &[]).ok()
        };
        let mistakes = match &net {
            Some(net) => lvs::check(desired, Some(net)),
            None => lvs::check(desired, without_vips().as_ref()),
        };
        errors.extend(mistakes.into_iter().map(ModelError::from));
        let (Some(mut net), true) = (net, errors.is_empty()) else {
            return Err(errors);
        };
        let wanted = pins::wanted(desired, &net);
        self.pins.pin(now, &wanted, &self.shared.neighbours);
        net.find_exits(&self.pins);
        let workers = &self.workers;
        let read = |server| read(workers, server);
        let mut plan = self
            .roll
            .plan(now, desired, &net, &self.pins, &read)
            .map_err(|error| vec![error.into()])?;
        plan.applied.network_changed = self.network_changed(desired);
        let marks = Arc::new(Marks::new(&desired.marks, &self.marks));
        let gates = if desired.limits == self.applied.limits {
            self.shared.snapshot.with_current(|s| Arc::clone(&s.gates))
        } else {
            Arc::new(lvs::Gates::new(&desired.limits))
        };
        let services = Services::new(
            std::mem::take(&mut plan.list),
            std::mem::take(&mut plan.targets),
            plan.roll.former().filter(|_| !desired.settings.compat_ipvs),
            desired.settings.compat_ipvs,
        );
        let port_of = |id: InterfaceId| desired.interfaces.get(id.index()).map(|i| i.port);
        let snapshot = Snapshot {
            net,
            cookies: Arc::new(lvs::Guards::new(&desired.limits, &services)),
            services,
            marks: Arc::clone(&marks),
            gates,
            local: desired.local.clone().into(),
            settings: desired.settings.clone(),
            timeouts: Timeouts::new(&desired.settings),
            milestones: desired.settings.sync.map(|rules| rules.milestones()),
            floating: Floating::new(&desired.floating).without(&desired.unaccepted),
            virtual_macs: VirtualMacs::new(&desired.virtual_macs, port_of),
        };
        if self.shared.snapshot.publish(snapshot).is_err() {
            return Err(vec![ModelError::WorkerHangs]);
        }
        let cap = desired.settings.endpoint_connections;
        self.shared.connections4.set_client_cap(cap);
        self.shared.connections6.set_client_cap(cap);
        let (roll, applied) = plan.commit(&self.shared.domain, &self.shared.roster);
        self.roll = roll;
        self.count_floods_from_now();
        self.marks = marks;
        let expires = desired.settings.expire_nodest_conn;
        let (compat, flushed) = (desired.settings.compat_ipvs, applied.servers_removed > 0);
        for (id, lasting) in self.roll.lasting(compat, expires, flushed) {
            if let Some(server) = self.shared.roster.server(id) {
                server.set_lasting(lasting);
            }
        }
        if flushed {
            self.flush.start(now, self.roll.removed(expires));
            self.flush.go_on(&self.shared);
        }
        self.forget_changed_interfaces(now, desired);
        self.applied = desired.clone();
        self.pins.unpin(&wanted, &self.shared.neighbours);
        Ok(applied)
    }

    /// Services that are new, or in another slot, begin with nothing counted.
    fn count_floods_from_now(&mut self) {
        let services = &self.roll.services;
        let slot = |key: &ServiceKey| Some(services.get(key)?.compiled.id);
        self.flooded.retain(|key, (id, _)| slot(key) == Some(*id));
        for (key, record) in services {
            let id = record.compiled.id;
            let begin = || (id, flooded(&self.workers, id));
            self.flooded.entry(*key).or_insert_with(begin);
        }
    }

    /// Frees what no worker can hold any more, and goes on with what a change has left to do. Call it now and then: once a
    /// second is enough.
    pub fn reclaim(&mut self) {
        self.flush.go_on(&self.shared);
        self.settle();
    }

    /// Goes on ending the connections of removed servers; whether some are left. Call it until there are none, some ten times a
    /// second: each call looks at a piece of the tables.
    pub fn flush(&mut self) -> bool {
        self.flush.go_on(&self.shared);
        self.flush.is_under_way()
    }

    fn settle(&mut self) {
        self.shared.snapshot.reclaim();
        let workers = &self.workers;
        let read = |server| read(workers, server);
        self.roll
            .settle(&self.shared.domain, &self.shared.roster, &read);
    }

    /// Gives and takes the roles virtual addresses depend on.
    #[must_use]
    pub fn roles(&self) -> Arc<Roles> {
        Arc::clone(&self.shared.roles)
    }

    /// What synchronises connections, for a thread of its own. `None` if it was taken already.
    pub fn synchronizer(&mut self) -> Option<Synchronizer> {
        let notes = self.workers.iter().map(|w| Arc::clone(&w.notes)).collect();
        Synchronizer::new(Arc::clone(&self.shared), notes)
    }

    /// A view of the neighbours for another thread.
    #[must_use]
    pub fn neighbourhood(&self) -> Neighbourhood {
        Neighbourhood(Arc::clone(&self.shared))
    }

    /// Packets each mark rule has matched since it is there, in the order of the desired state.
    #[must_use]
    pub fn mark_hits(&self) -> Vec<u64> {
        self.marks.hits().collect()
    }

    /// Every service with its servers, in the order of the desired state.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceView> {
        let read = |server| read(&self.workers, server);
        let wanted = self.applied.services.iter();
        self.roll
            .views(wanted.map(|s| s.key), &self.shared.roster, &read)
    }

    /// How the services with `syn_cookies` stand.
    #[must_use]
    pub fn floods(&self, now: Tick) -> Vec<(ServiceKey, Flooded)> {
        let services = self.applied.services.iter();
        let of = |snapshot: &Snapshot| {
            let guarded = services.filter_map(|service| {
                let (id, base) = *self.flooded.get(&service.key)?;
                snapshot.cookies.of(id)?;
                let on = self.shared.roster.service(id)?.flood.is_on(now);
                let counted = flooded(&self.workers, id).since(base);
                Some((service.key, Flooded { on, ..counted }))
            });
            guarded.collect()
        };
        self.shared.snapshot.with_current(of)
    }

    /// Attempts to connect, in a row up to now, that each server refused or left unanswered, as far as that is seen: under NAT. Servers
    /// without any are left out.
    pub fn failed_attempts(&self) -> impl Iterator<Item = (ServiceKey, SocketAddr, u32)> {
        let roster = &self.shared.roster;
        self.roll.present().filter_map(move |(key, address, id)| {
            let failed = roster.server(id)?.failed_attempts();
            (failed > 0).then_some((key, address, failed))
        })
    }

    /// Connections and templates, in chunks: those in the next `max` slots from `cursor` on are given to `f`; returns the
    /// cursor of the next chunk, `None` at the end. Start at 0.
    pub fn connections(
        &self,
        now: Tick,
        cursor: u64,
        max: u32,
        mut f: impl FnMut(&ConnectionView),
    ) -> Option<u64> {
        lvs::list(&self.shared, &self.roll, now, cursor, max, &mut f)
    }

    /// Every neighbour known or asked for.
    #[must_use]
    pub fn neighbours(&self, now: Tick) -> Vec<NeighbourView> {
        let mut all = Vec::new();
        self.shared.neighbours.list(now, &mut |view| all.push(view));
        all
    }

    /// Sets a neighbour by hand: it is never asked for. False if the table is full.
    #[must_use]
    pub fn set_neighbour(
        &mut self,
        now: Tick,
        interface: InterfaceId,
        address: IpAddr,
        mac: MacAddr,
    ) -> bool {
        self.shared
            .neighbours
            .set_permanent(interface, address, mac, now)
    }

    /// Every route, connected ones first.
    #[must_use]
    pub fn routes(&self) -> Vec<RouteView> {
        let mut routes: Vec<RouteView> = Vec::new();
        for (interface, id) in self.applied.interfaces.iter().zip(0..) {
            for net in &interface.addresses {
                routes.push(RouteView {
                    to: net.network(),
                    via: None,
                    interface: InterfaceId(id),
                    connected: true,
                });
            }
        }
        let through = |via: IpAddr| {
            let mut connected = routes.iter().filter(|r| r.to.contains(via));
            connected.next().map(|r| r.interface)
        };
        let fixed: Vec<RouteView> = self
            .applied
            .routes
            .iter()
            .map(|route| RouteView {
                to: route.to,
                via: route.via,
                interface: route
                    .interface
                    .or_else(|| route.via.and_then(through))
                    .unwrap_or_default(),
                connected: false,
            })
            .collect();
        routes.extend(fixed);
        routes
    }

    /// What the worker of that number counts.
    #[must_use]
    pub fn counters(&self, worker: WorkerId) -> Option<Arc<WorkerCounters>> {
        let share = self.workers.get(worker.index())?;
        Some(Arc::clone(&share.counters))
    }

    /// How many connections and templates there are, and what was refused: IPv4, IPv6.
    #[must_use]
    pub fn tables(&self) -> [flowtable::Counts; 2] {
        [
            self.shared.connections4.counts(),
            self.shared.connections6.counts(),
        ]
    }

    /// What is in force.
    #[must_use]
    pub const fn desired(&self) -> &Desired {
        &self.applied
    }

    /// Starts the traffic figures of one service and its servers, or of all, from zero (`ipvsadm -Z`). False if there is
    /// no such service.
    pub fn zero(&mut self, service: Option<&ServiceKey>) -> bool {
        let workers = &self.workers;
        let read = |server| read(workers, server);
        if service.is_none() {
            let counted = self.counted();
            let all = &mut self.estimates;
            all.estimator.zero(counted - all.base);
            all.base = counted;
        }
        self.roll.zero(service, &read)
    }

    /// Takes the next step of every rate if two seconds have passed since the last; says when the one after is due. The first
    /// call begins the first two seconds.
    pub fn estimate(&mut self, now: Tick) -> Tick {
        let due = *self.estimates.due.get_or_insert(now + lvs::PERIOD_MS);
        if now < due {
            return due;
        }
        let counted = self.counted();
        let all = &mut self.estimates;
        all.estimator.step(counted - all.base);
        let workers = &self.workers;
        self.roll.estimate(&|server| read(workers, server));
        // As the kernel's timer: late once is late for good, and never twice at once.
        let next = now + lvs::PERIOD_MS;
        self.estimates.due = Some(next);
        next
    }

    /// What went through all services since the start, or since all were zeroed, and per second (`/proc/net/ip_vs_stats`).
    #[must_use]
    pub fn traffic(&self) -> (Traffic, Traffic) {
        let all = &self.estimates;
        (self.counted() - all.base, all.estimator.rate())
    }

    /// What all workers counted in all slots: those given back keep what they hold.
    fn counted(&self) -> Traffic {
        let mut sum = Traffic::default();
        for worker in &self.workers {
            sum += worker.traffic.sum();
        }
        sum
    }

    fn network_changed(&self, desired: &Desired) -> bool {
        let old = &self.applied;
        old.interfaces != desired.interfaces
            || old.routes != desired.routes
            || old.vips != desired.vips
            || old.floating != desired.floating
            || old.unaccepted != desired.unaccepted
            || old.virtual_macs != desired.virtual_macs
            || old.settings != desired.settings
    }

    /// Neighbours are known by the interface's number: what was learned on another link of that number is wrong.
    fn forget_changed_interfaces(&self, now: Tick, desired: &Desired) {
        let link = |i: &Interface| (i.name.clone(), i.port, i.vlan);
        for (at, before) in self.applied.interfaces.iter().enumerate() {
            let after = desired.interfaces.get(at);
            if after.is_none_or(|after| link(after) != link(before))
                && let Ok(id) = u16::try_from(at)
            {
                self.shared
                    .neighbours
                    .forget_interface(InterfaceId(id), now);
            }
        }
    }
}

/// Who is where on the links, for any thread.
#[derive(Clone, Debug)]
pub struct Neighbourhood(Arc<Shared>);

impl Neighbourhood {
    /// The MAC of a station, if it is known. It is not asked for.
    #[must_use]
    pub fn mac(&self, interface: InterfaceId, address: IpAddr) -> Option<MacAddr> {
        self.0.neighbours.peek(interface, address)
    }

    /// When a station that is kept in mind last answered, or announced itself.
    #[must_use]
    pub fn heard(&self, interface: InterfaceId, address: IpAddr) -> Option<Tick> {
        self.0.neighbours.heard(interface, address)
    }

    /// The MAC of a station. If it is not known, it begins to be asked for.
    #[must_use]
    pub fn resolve(&self, interface: InterfaceId, address: IpAddr, now: Tick) -> Option<MacAddr> {
        match self.0.neighbours.resolve(interface, address, now) {
            Resolved::Mac(mac) => Some(mac),
            Resolved::Unknown(_) | Resolved::Full => None,
        }
    }
}

/// What all workers counted of a service slot's floods.
fn flooded(workers: &[WorkerShare], service: ServiceId) -> Flooded {
    let counted = workers.iter().map(|worker| worker.tallies.read(service));
    counted.fold(Flooded::default(), Flooded::with)
}

/// What all workers counted for a server's slot.
fn read(workers: &[WorkerShare], server: ServerId) -> Traffic {
    let mut sum = Traffic::default();
    for worker in workers {
        sum += worker.traffic.read(server);
    }
    sum
}
