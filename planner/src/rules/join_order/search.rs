//! Finds the cheapest tree of joins by estimated rows.

use std::collections::HashMap;

use super::graph::{Set, Sizes};
use crate::cost::{HASH_BUILD_COST, JOIN_ORDER_EXACT_RELATIONS_MAX};
use crate::estimate::shared_key_values;

/// A tree of joins over a set of relations.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) relations: Set,
    /// The left side is the smaller one, which is built. `None` for a single relation.
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

/// Returns rows and cost of the join of two trees; `None` if no equality joins them.
fn estimate_join(sizes: &Sizes, a: &Tree, b: &Tree) -> Option<(f64, f64)> {
    let (mut left_keys, mut right_keys) = (vec![], vec![]);
    let (mut left_rows, mut right_rows) = (0f64, 0f64);
    for class in &sizes.classes {
        let member = |set: Set| class.iter().find(|(relation, _)| set & 1 << relation != 0);
        let (Some((left, left_values)), Some((right, right_values))) =
            (member(a.relations), member(b.relations))
        else {
            continue;
        };
        left_keys.push(left_values.clone());
        right_keys.push(right_values.clone());
        left_rows = left_rows.max(sizes.base_rows[*left]);
        right_rows = right_rows.max(sizes.base_rows[*right]);
    }
    if left_keys.is_empty() {
        return None;
    }
    let key_values = shared_key_values((&left_keys, left_rows), (&right_keys, right_rows));
    let mut rows = a.rows * b.rows / key_values;
    let joined = a.relations | b.relations;
    for (needs, selectivity) in &sizes.conditions {
        if needs & joined == *needs
            && needs & a.relations != *needs
            && needs & b.relations != *needs
        {
            rows *= selectivity;
        }
    }
    let rows = rows.max(1.0);
    Some((
        rows,
        a.cost + b.cost + a.rows.min(b.rows) * HASH_BUILD_COST + a.rows.max(b.rows) + rows,
    ))
}

fn join_trees(sizes: &Sizes, a: &Tree, b: &Tree) -> Option<Tree> {
    let (rows, cost) = estimate_join(sizes, a, b)?;
    let (small, large) = if a.rows <= b.rows { (a, b) } else { (b, a) };
    Some(Tree {
        relations: a.relations | b.relations,
        sides: Some(Box::new((small.clone(), large.clone()))),
        rows,
        cost,
    })
}

/// Returns the cost of the joins in their written order; `None` if there is a cross product among
/// them.
pub(super) fn cost_as_written(sizes: &Sizes, written: &[(Set, Set)]) -> Option<f64> {
    let mut trees: HashMap<Set, Tree> = leaves(sizes).map(|tree| (tree.relations, tree)).collect();
    let mut cost = None;
    for (left, right) in written {
        let (a, b) = (trees.get(left)?, trees.get(right)?);
        let tree = join_trees(sizes, a, b)?;
        cost = Some(tree.cost);
        trees.insert(tree.relations, tree);
    }
    cost
}

/// Returns the cheapest tree over all relations; `None` if they are not connected.
pub(super) fn cheapest_tree(sizes: &Sizes) -> Option<Tree> {
    if sizes.rows.len() <= JOIN_ORDER_EXACT_RELATIONS_MAX {
        search_exhaustively(sizes)
    } else {
        search_greedily(sizes)
    }
}

/// Finds the best tree of every set of relations from the best trees of its subsets.
fn search_exhaustively(sizes: &Sizes) -> Option<Tree> {
    let all: Set = (1 << sizes.rows.len()) - 1;
    let mut best: Vec<Option<Tree>> = vec![None; all as usize + 1];
    for set in 1..=all {
        if set.count_ones() == 1 {
            let relation = set.trailing_zeros() as usize;
            best[set as usize] = Some(Tree::leaf(relation, sizes.rows[relation]));
            continue;
        }
        let mut cheapest_split: Option<(f64, f64, Set)> = None;
        // Only subsets with the set's first relation, so that no pair is tried twice.
        let first = set & set.wrapping_neg();
        let mut part = (set - 1) & set;
        while part > 0 {
            if part & first != 0
                && let (Some(a), Some(b)) = (&best[part as usize], &best[(set & !part) as usize])
                && let Some((rows, cost)) = estimate_join(sizes, a, b)
                && cheapest_split.is_none_or(|(_, lowest_cost, _)| cost < lowest_cost)
            {
                cheapest_split = Some((rows, cost, part));
            }
            part = (part - 1) & set;
        }
        best[set as usize] = cheapest_split.and_then(|(_, _, part)| {
            join_trees(
                sizes,
                best[part as usize].as_ref()?,
                best[(set & !part) as usize].as_ref()?,
            )
        });
    }
    best.pop().flatten()
}

/// Repeatedly joins the two trees whose join returns the fewest rows.
fn search_greedily(sizes: &Sizes) -> Option<Tree> {
    let mut trees: Vec<Tree> = leaves(sizes).collect();
    while trees.len() > 1 {
        let pairs = (0..trees.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
        let joins = pairs.filter_map(|(a, b)| {
            estimate_join(sizes, &trees[a], &trees[b])
                .map(|(rows, cost)| (rows, cost - trees[a].cost - trees[b].cost, a, b))
        });
        let (_, _, a, b) = joins.min_by(|x, y| x.0.total_cmp(&y.0).then(x.1.total_cmp(&y.1)))?;
        let tree = join_trees(sizes, &trees[a], &trees[b])?;
        // `a` is the larger index: removing it first does not move the tree at `b`.
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

    /// Relations, each with its rows after and before its filter, and the keys that they share,
    /// each with its distinct values.
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

    fn draw(tree: &Tree) -> String {
        match tree.sides.as_deref() {
            Some((left, right)) => format!("({} {})", draw(left), draw(right)),
            None => tree.relations.trailing_zeros().to_string(),
        }
    }

    #[test]
    fn the_filtered_dimension_is_joined_first_wherever_it_is_written() {
        // 0: facts, 1: a large dimension, 2: a small one whose filter keeps few rows.
        let tree = cheapest_tree(&sizes(
            &[(1e6, 1e6), (1e5, 1e5), (10.0, 1e3)],
            &[(&[0, 1], 1e5), (&[0, 2], 1e3)],
        ))
        .unwrap();
        assert_eq!(draw(&tree), "((2 0) 1)");
        // The same relations, numbered differently.
        let tree = cheapest_tree(&sizes(
            &[(10.0, 1e3), (1e5, 1e5), (1e6, 1e6)],
            &[(&[2, 1], 1e5), (&[2, 0], 1e3)],
        ))
        .unwrap();
        assert_eq!(draw(&tree), "((0 2) 1)");
    }

    #[test]
    fn two_columns_equal_to_a_third_are_joined_with_each_other() {
        // a.k = b.k AND b.k = c.k: a and c are small, b is large.
        let tree = cheapest_tree(&sizes(
            &[(10.0, 1e4), (1e6, 1e6), (10.0, 1e4)],
            &[(&[0, 1, 2], 1e4)],
        ))
        .unwrap();
        assert_eq!(draw(&tree), "((0 2) 1)");
    }

    #[test]
    fn there_is_no_cross_product_and_many_relations_are_ordered_too() {
        assert!(cheapest_tree(&sizes(&[(10.0, 10.0); 3], &[(&[0, 1], 10.0)])).is_none());
        let links: Vec<[usize; 2]> = (1..20).map(|n| [n - 1, n]).collect();
        let keys: Vec<(&[usize], f64)> = links.iter().map(|link| (&link[..], 100.0)).collect();
        let tree = cheapest_tree(&sizes(&[(100.0, 100.0); 20], &keys)).unwrap();
        assert_eq!(tree.relations.count_ones(), 20);
    }

    #[test]
    fn the_written_order_costs_what_its_joins_cost() {
        let sizes = sizes(
            &[(1e6, 1e6), (1e5, 1e5), (10.0, 1e3)],
            &[(&[0, 1], 1e5), (&[0, 2], 1e3)],
        );
        let best = cheapest_tree(&sizes).unwrap();
        assert_eq!(
            cost_as_written(&sizes, &[(0b100, 0b001), (0b101, 0b010)]),
            Some(best.cost)
        );
        assert!(
            cost_as_written(&sizes, &[(0b001, 0b010), (0b011, 0b100)]).unwrap() > best.cost * 2.0
        );
    }
}
