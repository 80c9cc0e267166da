//! The cheapest tree of joins, by estimated rows.

use std::collections::HashMap;

use super::graph::{Set, Sizes};
use crate::cost::{HASH_BUILD_COST, JOIN_ORDER_EXACT_RELATIONS_MAX};
use crate::estimate::shared_key_values;

/// Joins of a set of relations.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) relations: Set,
    /// The smaller side is the left one, which is built. None for a single relation.
    pub(super) sides: Option<Box<(Self, Self)>>,
    rows: f64,
    pub(super) cost: f64,
}

impl Tree {
    fn leaf(relation: usize, rows: f64) -> Self {
        Self {
            relations: 1 << relation,
            sides: None,
            rows,
            cost: 0.0,
        }
    }
}

fn leaves(sizes: &Sizes) -> impl Iterator<Item = Tree> {
    sizes
        .rows
        .iter()
        .enumerate()
        .map(|(relation, rows)| Tree::leaf(relation, *rows))
}

/// Rows and cost of two trees joined; `None` if nothing joins them.
fn join(sizes: &Sizes, a: &Tree, b: &Tree) -> Option<(f64, f64)> {
    let (mut left, mut right) = ((vec![], 0f64), (vec![], 0f64));
    for class in &sizes.classes {
        let member = |set: Set| class.iter().find(|(relation, _)| set & 1 << relation != 0);
        let (Some((l, l_values)), Some((r, r_values))) = (member(a.relations), member(b.relations))
        else {
            continue;
        };
        left = (
            pushed(left.0, l_values.clone()),
            left.1.max(sizes.base_rows[*l]),
        );
        right = (
            pushed(right.0, r_values.clone()),
            right.1.max(sizes.base_rows[*r]),
        );
    }
    if left.0.is_empty() {
        return None;
    }
    let mut rows = a.rows * b.rows / shared_key_values((&left.0, left.1), (&right.0, right.1));
    let both = a.relations | b.relations;
    for (needs, part) in &sizes.conditions {
        if needs & both == *needs && needs & a.relations != *needs && needs & b.relations != *needs
        {
            rows *= part;
        }
    }
    let rows = rows.max(1.0);
    Some((
        rows,
        a.cost + b.cost + a.rows.min(b.rows) * HASH_BUILD_COST + a.rows.max(b.rows) + rows,
    ))
}

fn pushed<T>(mut all: Vec<T>, one: T) -> Vec<T> {
    all.push(one);
    all
}

fn joined(sizes: &Sizes, a: &Tree, b: &Tree) -> Option<Tree> {
    let (rows, cost) = join(sizes, a, b)?;
    let (small, large) = if a.rows <= b.rows { (a, b) } else { (b, a) };
    Some(Tree {
        relations: a.relations | b.relations,
        sides: Some(Box::new((small.clone(), large.clone()))),
        rows,
        cost,
    })
}

/// What the joins cost as they are written; `None` if there is a cross product among them.
pub(super) fn cost_as_written(sizes: &Sizes, written: &[(Set, Set)]) -> Option<f64> {
    let mut trees: HashMap<Set, Tree> = leaves(sizes).map(|tree| (tree.relations, tree)).collect();
    let mut cost = None;
    for (left, right) in written {
        let (a, b) = (trees.get(left)?, trees.get(right)?);
        let tree = joined(sizes, a, b)?;
        cost = Some(tree.cost);
        trees.insert(tree.relations, tree);
    }
    cost
}

/// The cheapest tree over all relations; `None` if they are not connected.
pub(super) fn cheapest(sizes: &Sizes) -> Option<Tree> {
    if sizes.rows.len() <= JOIN_ORDER_EXACT_RELATIONS_MAX {
        exact(sizes)
    } else {
        greedy(sizes)
    }
}

/// Each set's best tree is made of the best trees of its parts.
fn exact(sizes: &Sizes) -> Option<Tree> {
    let all: Set = (1 << sizes.rows.len()) - 1;
    let mut best: Vec<Option<Tree>> = vec![None; all as usize + 1];
    for set in 1..=all {
        if set.count_ones() == 1 {
            let relation = set.trailing_zeros() as usize;
            best[set as usize] = Some(Tree::leaf(relation, sizes.rows[relation]));
            continue;
        }
        let mut found: Option<(f64, f64, Set)> = None;
        // Every part that holds the set's first relation, so that no pair comes twice.
        let first = set & set.wrapping_neg();
        let mut part = (set - 1) & set;
        while part > 0 {
            if part & first != 0
                && let (Some(a), Some(b)) = (&best[part as usize], &best[(set & !part) as usize])
                && let Some((rows, cost)) = join(sizes, a, b)
                && found.is_none_or(|(_, least, _)| cost < least)
            {
                found = Some((rows, cost, part));
            }
            part = (part - 1) & set;
        }
        best[set as usize] = found.and_then(|(_, _, part)| {
            joined(
                sizes,
                best[part as usize].as_ref()?,
                best[(set & !part) as usize].as_ref()?,
            )
        });
    }
    best.pop().flatten()
}

/// Joins the two trees whose join is cheapest, again and again.
fn greedy(sizes: &Sizes) -> Option<Tree> {
    let mut trees: Vec<Tree> = leaves(sizes).collect();
    while trees.len() > 1 {
        let pairs = (0..trees.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
        let priced = pairs.filter_map(|(a, b)| {
            join(sizes, &trees[a], &trees[b])
                .map(|(rows, cost)| (rows, cost - trees[a].cost - trees[b].cost, a, b))
        });
        let (_, _, a, b) = priced.min_by(|x, y| x.0.total_cmp(&y.0).then(x.1.total_cmp(&y.1)))?;
        let tree = joined(sizes, &trees[a], &trees[b])?;
        // The larger index first: removing it leaves the other in its place.
        trees.swap_remove(a);
        trees.swap_remove(b);
        trees.push(tree);
    }
    trees.pop()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::ColumnValues;

    /// Relations of so many rows, filtered ones with rows before the filter; and keys that pairs of them share, with their values.
    fn sizes(rows: &[(f64, f64)], keys: &[(&[usize], f64)]) -> Sizes {
        let values = |distinct: f64| ColumnValues {
            distinct: Some(distinct),
            range: Some((1.0, distinct)),
            ..ColumnValues::default()
        };
        Sizes {
            rows: rows.iter().map(|(now, _)| *now).collect(),
            base_rows: rows.iter().map(|(_, base)| *base).collect(),
            classes: keys
                .iter()
                .map(|(members, distinct)| {
                    members
                        .iter()
                        .map(|member| (*member, values(*distinct)))
                        .collect()
                })
                .collect(),
            conditions: vec![],
        }
    }

    fn drawn(tree: &Tree) -> String {
        match tree.sides.as_deref() {
            Some((left, right)) => format!("({} {})", drawn(left), drawn(right)),
            None => tree.relations.trailing_zeros().to_string(),
        }
    }

    #[test]
    fn the_filtered_dimension_is_joined_first_wherever_it_is_written() {
        // 0: facts, 1: a large dimension, 2: a small one of which little is left.
        let found = cheapest(&sizes(
            &[(1e6, 1e6), (1e5, 1e5), (10.0, 1e3)],
            &[(&[0, 1], 1e5), (&[0, 2], 1e3)],
        ))
        .unwrap();
        assert_eq!(drawn(&found), "((2 0) 1)");
        // The same, numbered otherwise.
        let found = cheapest(&sizes(
            &[(10.0, 1e3), (1e5, 1e5), (1e6, 1e6)],
            &[(&[2, 1], 1e5), (&[2, 0], 1e3)],
        ))
        .unwrap();
        assert_eq!(drawn(&found), "((0 2) 1)");
    }

    #[test]
    fn what_is_equal_to_the_same_is_joined_though_nobody_wrote_it() {
        // a.k = b.k AND b.k = c.k: a and c are small, b is large.
        let found = cheapest(&sizes(
            &[(10.0, 1e4), (1e6, 1e6), (10.0, 1e4)],
            &[(&[0, 1, 2], 1e4)],
        ))
        .unwrap();
        assert_eq!(drawn(&found), "((0 2) 1)");
    }

    #[test]
    fn there_is_no_cross_product_and_many_relations_are_ordered_too() {
        assert!(cheapest(&sizes(&[(10.0, 10.0); 3], &[(&[0, 1], 10.0)])).is_none());
        let links: Vec<[usize; 2]> = (1..20).map(|n| [n - 1, n]).collect();
        let keys: Vec<(&[usize], f64)> = links.iter().map(|link| (&link[..], 100.0)).collect();
        let found = cheapest(&sizes(&[(100.0, 100.0); 20], &keys)).unwrap();
        assert_eq!(found.relations.count_ones(), 20);
    }

    #[test]
    fn the_written_order_costs_what_its_joins_cost() {
        let sizes = sizes(
            &[(1e6, 1e6), (1e5, 1e5), (10.0, 1e3)],
            &[(&[0, 1], 1e5), (&[0, 2], 1e3)],
        );
        let best = cheapest(&sizes).unwrap();
        assert_eq!(
            cost_as_written(&sizes, &[(0b100, 0b001), (0b101, 0b010)]),
            Some(best.cost)
        );
        assert!(
            cost_as_written(&sizes, &[(0b001, 0b010), (0b011, 0b100)]).unwrap() > best.cost * 2.0
        );
    }
}
