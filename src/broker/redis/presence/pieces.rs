//! The users of this node in a room as they were last published, in pieces of up to 256 that are written one by one.

use std::collections::BTreeSet;

use crate::names::UserId;

/// Most users of a piece: a change costs the engine at most 16 KiB, and as much as 80 KiB where all have long names.
pub(super) const MAX_PIECE: usize = 256;
/// Two neighbours with no more users than this together become one piece.
const MERGED_PIECE: usize = 128;

/// A piece of the list.
#[derive(Debug)]
struct Piece {
    /// The number in the name of its field: all pieces together have the numbers from 0 on without a hole.
    field: usize,
    /// Sorted by name.
    users: Vec<UserId>,
}

/// A sorted list of users, cut into pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Sorted by the names in them. None is empty.
    pieces: Vec<Piece>,
    len: usize,
    /// The fields whose pieces have changed since [`Pieces::take_changed`]. Some may no longer exist.
    changed: BTreeSet<usize>,
}

impl Pieces {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Returns how many pieces there are.
    pub(super) fn count(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &UserId> {
        self.pieces.iter().flat_map(|piece| &piece.users)
    }

    /// Returns the piece that has this name or would have it.
    fn place_of(&self, user: &UserId) -> usize {
        self.pieces.partition_point(|piece| piece.users.first().is_some_and(|first| first <= user)).max(1) - 1
    }

    pub(super) fn contains(&self, user: &UserId) -> bool {
        self.pieces.get(self.place_of(user)).is_some_and(|piece| piece.users.binary_search(user).is_ok())
    }

    /// Adds a user, once.
    pub(super) fn insert(&mut self, user: &UserId) {
        if self.pieces.is_empty() {
            self.pieces.push(Piece { field: 0, users: Vec::new() });
        }
        let (at, next) = (self.place_of(user), self.pieces.len());
        let piece = &mut self.pieces[at];
        let Err(place) = piece.users.binary_search(user) else { return };
        piece.users.insert(place, user.clone());
        self.len += 1;
        self.changed.insert(piece.field);
        if piece.users.len() > MAX_PIECE {
            let users = piece.users.split_off(MAX_PIECE / 2);
            piece.users.shrink_to_fit();
            self.changed.insert(next);
            self.pieces.insert(at + 1, Piece { field: next, users });
        }
    }

    /// Removes a user, if it is there.
    pub(super) fn remove(&mut self, user: &UserId) {
        let at = self.place_of(user);
        let Some(piece) = self.pieces.get_mut(at) else { return };
        let Ok(place) = piece.users.binary_search(user) else { return };
        piece.users.remove(place);
        self.len -= 1;
        self.changed.insert(piece.field);
        let size = |at: usize| self.pieces.get(at).map_or(usize::MAX / 2, |piece| piece.users.len());
        if size(at) == 0 {
            self.drop_piece(at);
        } else if size(at) + size(at + 1) <= MERGED_PIECE {
            let users = self.drop_piece(at + 1);
            self.pieces[at].users.extend(users);
        } else if at > 0 && size(at - 1) + size(at) <= MERGED_PIECE {
            let users = self.drop_piece(at);
            let before = &mut self.pieces[at - 1];
            before.users.extend(users);
            self.changed.insert(before.field);
        }
    }

    /// Removes a piece. The one with the last field takes over the field that becomes free.
    fn drop_piece(&mut self, at: usize) -> Vec<UserId> {
        let Piece { field, users } = self.pieces.remove(at);
        let last = self.pieces.len();
        if let Some(piece) = self.pieces.iter_mut().find(|piece| piece.field == last) {
            piece.field = field;
            self.changed.insert(field);
        }
        users
    }

    /// Takes the pieces that have changed, each with the number in the name of its field.
    pub(super) fn take_changed(&mut self) -> Vec<(usize, &[UserId])> {
        let changed = std::mem::take(&mut self.changed);
        let pieces = self.pieces.iter().filter(|piece| changed.contains(&piece.field));
        pieces.map(|piece| (piece.field, &piece.users[..])).collect()
    }

    /// Takes all pieces, each with the number in the name of its field.
    pub(super) fn take_all(&mut self) -> Vec<(usize, &[UserId])> {
        self.changed.clear();
        self.pieces.iter().map(|piece| (piece.field, &piece.users[..])).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_changed_pieces_keep_a_copy_the_same() {
        let mut random = fastrand::Rng::with_seed(5);
        let (mut pieces, mut truth) = (Pieces::default(), BTreeSet::new());
        let mut copy: BTreeMap<usize, Vec<UserId>> = BTreeMap::new();
        let mut most = 0;
        for round in 0..400 {
            let (users, joins) = if round < 200 { (2_000, 90) } else { (2_000, 10) };
            for _ in 0..random.usize(1..60) {
                let user: UserId = format!("u-{}", random.u32(..users)).parse().unwrap();
                if random.u8(..100) < joins {
                    pieces.insert(&user);
                    truth.insert(user);
                } else {
                    pieces.remove(&user);
                    truth.remove(&user);
                }
            }
            let count = pieces.count();
            copy.retain(|field, _| *field < count);
            copy.extend(pieces.take_changed().into_iter().map(|(field, users)| (field, users.to_vec())));
            assert_eq!(copy.len(), count);
            assert!(copy.values().all(|users| (1..=MAX_PIECE).contains(&users.len())), "round {round}");
            let users: BTreeSet<UserId> = copy.values().flatten().cloned().collect();
            assert_eq!((&users, pieces.len()), (&truth, truth.len()), "round {round}");
            assert!(pieces.iter().eq(&truth), "in the order of the names");
            most = most.max(count);
        }
        assert!(
            most >= 8 && pieces.count() <= 1 + 2 * truth.len() / MERGED_PIECE,
            "{most} {}",
            pieces.count()
        );
        assert!(truth.iter().all(|user| pieces.contains(user)) && !pieces.contains(&"u-x".parse().unwrap()));
    }
}
