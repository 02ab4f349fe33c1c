"""Which network design wins: trainings through nnU-Net's own trainer and plans, scored on unseen test cases."""
