"""Synthetic people: clothed, moving, parametric people with exact ground truth, rendered on a CPU.

Data flows one way: assets, identity -> body, clothes, hair, skin -> rig, motion, mocap -> scene, backdrop, render ->
keypoints, caption -> clip -> workers, shards. Nothing outside this package imports anny, warp, pybullet_data or
webdataset, and nothing here is imported until it is used.
"""
